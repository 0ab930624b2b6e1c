"""The file of fences: what it may say, and the sentence that stops the start where it says something else."""

from pathlib import Path

import pytest

from webxen.core import fences
from webxen.env import SettingError

GOOD = """
# the management board of each host
[xen1]
agent = "fence_ipmilan"
ip = "10.0.0.11"
username = "webxen"
password = "s3cret words"
lanplus = true
ipport = 623

["xen-2"]
agent = "fence_apc"
ip = "10.0.0.20"
plug = "4"
"""


def read(folder: Path, text: str) -> dict[str, fences.Fence]:
    path = folder / "fences.toml"
    path.write_text(text)
    return fences.read("WEBXEN_FENCE_FILE", str(path))


class TestAFileOfFences:
    def test_is_not_needed(self) -> None:
        assert fences.read("WEBXEN_FENCE_FILE", "") == {}

    def test_names_each_hosts_agent_and_what_it_is_told(self, tmp_path: Path) -> None:
        found = read(tmp_path, GOOD)
        assert {host: fence.agent for host, fence in found.items()} == {
            "xen1": "fence_ipmilan",
            "xen-2": "fence_apc",
        }
        assert found["xen1"].lines("off").decode().splitlines() == [
            "ip=10.0.0.11",
            "username=webxen",
            "password=s3cret words",
            "lanplus=1",
            "ipport=623",
            "action=off",
        ]

    def test_is_shown_without_its_secrets(self, tmp_path: Path) -> None:
        fence = read(tmp_path, GOOD)["xen1"]
        assert "s3cret" not in repr(fence)
        assert fence.hide_secrets("user webxen, s3cret words!") == "user webxen, ***!"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[xen1\n", "cannot be read"),
            ('xen1 = "fence_ipmilan"', r"\[xen1\] must be a table"),
            ("[xen1]\n", "needs agent"),
            ('[xen1]\nagent = "/usr/sbin/fence_apc"', "needs agent"),
            ('[xen1]\nagent = "../fence_apc"', "needs agent"),
            ('[xen1]\nagent = "sh"', "needs agent"),
            ('[xen1]\nagent = "fence_apc;x"', "needs agent"),
            ('[xen1]\nagent = "fence_apc"\naction = "on"', "must not say action"),
            ('[xen1]\nagent = "fence_apc"\nIP = "x"', "no parameter's name"),
            ('[xen1]\nagent = "fence_apc"\n"a=b" = "x"', "no parameter's name"),
            ('[xen1]\nagent = "fence_apc"\nip = "x\\naction=on"', "ip must be one line"),
            ('[xen1]\nagent = "fence_apc"\nip = ["x"]', "ip must be one line"),
            ('[xen1]\nagent = "fence_apc"\nip = 1.5', "ip must be one line"),
        ],
    )
    def test_that_says_something_else_stops_the_start(self, text: str, said: str, tmp_path: Path) -> None:
        with pytest.raises(SettingError, match=f"WEBXEN_FENCE_FILE.*{said}"):
            read(tmp_path, text)

    def test_that_is_not_there_stops_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(SettingError, match="WEBXEN_FENCE_FILE cannot be read"):
            fences.read("WEBXEN_FENCE_FILE", str(tmp_path / "none"))

    def test_does_not_repeat_a_password_it_cannot_read(self, tmp_path: Path) -> None:
        with pytest.raises(SettingError) as refused:
            read(tmp_path, '[xen1]\nagent = "fence_apc"\npassword = hunter2\n')
        assert "hunter2" not in str(refused.value)
