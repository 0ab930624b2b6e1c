"""One answer for all who waited for the same, and never one that was looked up before the question came."""

import threading
import time

import pytest

from webxen.core.waiting_together import ARRIVED, MOST_ANSWERS, WaitingTogether, arrival_of


class Looks:
    """Counts how often it was looked; can be held open."""

    def __init__(self):
        self.count = 0
        self.is_free, self.has_begun = threading.Event(), threading.Event()
        self.is_free.set()

    def __call__(self):
        self.count += 1
        said = self.count
        self.has_begun.set()
        assert self.is_free.wait(10)
        return said


class TestWaitingTogether:
    def test_who_came_before_the_look_began_is_told_what_it_says(self):
        together, look = WaitingTogether(), Looks()
        came = time.monotonic()
        assert [together.answer("a", look, arrived=came) for _ in range(5)] == [1] * 5

    def test_who_came_after_it_began_is_not(self):
        together, look = WaitingTogether(), Looks()
        assert together.answer("a", look, arrived=time.monotonic()) == 1
        assert together.answer("a", look, arrived=time.monotonic()) == 2

    def test_another_question_has_another_answer(self):
        together, look = WaitingTogether(), Looks()
        came = time.monotonic()
        assert [together.answer(key, look, arrived=came) for key in "aba"] == [1, 2, 1]

    def test_waits_for_a_look_that_is_under_way_and_began_late_enough(self):
        together, look = WaitingTogether(), Looks()
        look.is_free.clear()
        came, told = time.monotonic(), []
        threads = [
            threading.Thread(target=lambda: told.append(together.answer("a", look, arrived=came)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert look.has_begun.wait(10)
        late = threading.Thread(
            target=lambda: told.append(together.answer("a", look, arrived=time.monotonic()))
        )
        late.start()
        look.is_free.set()
        for thread in (*threads, late):
            thread.join(10)
        assert sorted(told) == [1, 1, 1, 1, 2]
        assert look.count == 2

    def test_an_error_is_told_to_those_who_waited_and_to_nobody_later(self):
        together = WaitingTogether()

        def fail():
            raise ValueError("away")

        came = time.monotonic()
        for _ in range(2):
            with pytest.raises(ValueError, match="away"):
                together.answer("a", fail, arrived=came)
        assert together.answer("a", lambda: "here", arrived=time.monotonic()) == "here"

    def test_holds_no_more_than_so_many(self):
        together = WaitingTogether()
        for number in range(MOST_ANSWERS + 50):
            together.answer(number, lambda: "x", arrived=time.monotonic())
        assert len(together._looks) == MOST_ANSWERS


def test_a_request_whose_time_nobody_wrote_down_waits_with_nobody():
    before = time.monotonic()
    assert arrival_of({}) >= before
    assert arrival_of({ARRIVED: 5.0}) == 5.0
