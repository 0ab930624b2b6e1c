"""What a small host does not do while a guest boots or moves."""

import time

import pytest

from worker.job.quiet import CachedWhileQuiet, QuietPeriod


class TestQuietPeriod:
    def test_is_on_while_anybody_holds_it_and_a_moment_longer(self) -> None:
        quiet = QuietPeriod(linger_seconds=0.2)
        assert not quiet.is_on
        with quiet.hold():
            with quiet.hold():
                pass
            assert quiet.is_on
        assert quiet.is_on
        time.sleep(0.3)
        assert not quiet.is_on


class TestKept:
    def test_is_asked_once_in_a_quiet_period_and_each_time_without(self) -> None:
        asked: list[int] = []

        def read() -> int:
            asked.append(1)
            return len(asked)

        quiet = QuietPeriod(linger_seconds=0)
        kept = CachedWhileQuiet(read, quiet)
        assert [kept(), kept()] == [1, 2]
        with quiet.hold():
            # what was read before may lack what the job has just made
            assert [kept(), kept(), kept()] == [3, 3, 3]
            with quiet.hold():
                assert [kept(), kept()] == [4, 4]
        assert kept() == 5

    def test_keeps_no_error(self) -> None:
        answers = ["first", OSError("away"), "second"]

        def read() -> str:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        quiet = QuietPeriod(linger_seconds=0)
        kept = CachedWhileQuiet(read, quiet)
        with quiet.hold():
            assert kept() == "first"
        with pytest.raises(OSError, match="away"):
            kept()
        with quiet.hold():
            assert kept() == "second"
