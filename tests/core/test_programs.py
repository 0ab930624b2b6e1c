"""Other programs as the portal starts them: to their end or to their deadline, with nothing of ours."""

import pytest

from webxen.core import programs


def run(*argv: str, said: bytes = b"", timeout_seconds: float = 30) -> programs.Ended:
    return programs.run(argv, input_bytes=said, timeout_seconds=timeout_seconds)


class TestAProgram:
    def test_is_told_and_says(self) -> None:
        assert run("/bin/sh", "-c", "cat; echo oops >&2; exit 3", said=b"hello\n") == programs.Ended(
            3, "hello\noops\n"
        )

    def test_may_not_listen(self) -> None:
        assert run("/bin/true", said=b"x" * 60000).exit_code == 0

    def test_that_talks_without_end_is_stopped_and_kept_short(self) -> None:
        ended = run("/bin/sh", "-c", "yes", timeout_seconds=1)
        assert ended.exit_code is None
        assert 0 < len(ended.said) <= programs.KEPT

    def test_is_not_waited_for_by_the_child_it_leaves(self) -> None:
        assert run("/bin/sh", "-c", "sleep 600 & echo done").said == "done\n"

    def test_that_closes_its_output_is_still_waited_for(self) -> None:
        assert run("/bin/sh", "-c", "exec >&- 2>&-; exit 4").exit_code == 4

    def test_that_is_not_there_is_an_error(self) -> None:
        with pytest.raises(FileNotFoundError):
            run("/nowhere/fence_none")
