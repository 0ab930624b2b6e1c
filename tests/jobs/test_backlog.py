"""A portal that did not listen for a while takes what hosts said meanwhile for what it is: old."""

from webxen.jobs.backlog import PAUSE_SECONDS, Backlog


class Queue:
    """A queue's length and a clock, both set by the test."""

    def __init__(self) -> None:
        self.length, self.seconds = 0, 1000.0
        self.backlog = Backlog(count=lambda: self.length, now=lambda: self.seconds)

    def hear(self, *, after: float = 1.0) -> bool:
        self.seconds += after
        self.backlog.hear()
        return self.backlog.is_old


def test_what_was_there_at_the_start_is_old_and_nothing_else():
    queue = Queue()
    queue.length = 2
    assert [queue.hear() for _ in range(5)] == [True, True, True, False, False]


def test_a_long_queue_that_is_worked_on_is_not_old():
    queue = Queue()
    queue.hear()
    queue.length = 500
    assert not any(queue.hear(after=PAUSE_SECONDS / 2) for _ in range(20))


def test_a_process_that_stood_still_counts_again():
    queue = Queue()
    queue.hear()
    queue.length = 1
    assert [queue.hear(after=PAUSE_SECONDS + 1), queue.hear(), queue.hear()] == [True, True, False]
