"""What a small host does not do while a guest boots or moves."""

import time

import pytest

from worker.job.quiet import Hush, Kept


class TestHush:
    def test_is_on_while_anybody_holds_it_and_a_moment_longer(self) -> None:
        hush = Hush(linger_seconds=0.2)
        assert not hush.is_on
        with hush.hold():
            with hush.hold():
                pass
            assert hush.is_on
        assert hush.is_on
        time.sleep(0.3)
        assert not hush.is_on


class TestKept:
    def test_is_asked_once_in_a_hush_and_each_time_without(self) -> None:
        asked: list[int] = []

        def read() -> int:
            asked.append(1)
            return len(asked)

        hush = Hush(linger_seconds=0)
        kept = Kept(read, hush)
        assert [kept(), kept()] == [1, 2]
        with hush.hold():
            # what was read before may lack what the job has just made
            assert [kept(), kept(), kept()] == [3, 3, 3]
            with hush.hold():
                assert [kept(), kept()] == [4, 4]
        assert kept() == 5

    def test_keeps_no_error(self) -> None:
        answers = ["first", OSError("away"), "second"]

        def read() -> str:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        hush = Hush(linger_seconds=0)
        kept = Kept(read, hush)
        with hush.hold():
            assert kept() == "first"
        with pytest.raises(OSError, match="away"):
            kept()
        with hush.hold():
            assert kept() == "second"
