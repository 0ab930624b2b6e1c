"""What is hidden from a guest, as words, as xl.cfg, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract import Features, cpuid_lines, features_text, hidden_features, read_features
from worker.xen import config, libxlutil

WORDS = st.tuples(*[st.integers(0, 2**32 - 1)] * 8)


@given(WORDS)
def test_the_portal_reads_back_what_the_host_wrote(words: Features) -> None:
    hidden = read_features(features_text(words))
    lines = cpuid_lines(hidden)
    text = config.write({"name": "web1", **({"cpuid": lines} if lines else {}), "vcpus": "1"})
    assert hidden_features(text) == hidden
    if libxlutil.library_path():
        assert (libxlutil.parse(text.encode()) or {}).get("cpuid", ()) == lines


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpuid = 'host,rdseed=0'",
        "cpuid = [ '0x7,0:edx=" + "0" * 32 + "' ]",  # a register that hw_caps does not show
        "# cpuid = [ '0x1:edx=" + "0" * 32 + "' ]",
        "cpuid = [ '0x1:edx=000' ]",
    ],
)
def test_what_is_no_line_of_ours_hides_nothing(text: str) -> None:
    assert not any(hidden_features(text))
