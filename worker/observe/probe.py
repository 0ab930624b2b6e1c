"""Time limit for storage that does not answer, e.g. NFS whose server is down. Standard library only."""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

#: a working pool answers in a second, on an emulated host in three
SECONDS = 10.0

T = TypeVar("T")


class PoolProbe:
    """For one thread that reads several pools, none of which may block the others.

    A call into a hung file system cannot be interrupted, so it runs in a thread of its own, and that pool is
    not called again until it has answered.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._asked: dict[str, Future[Any]] = {}

    def ask(self, pool: str, read: Callable[[], T]) -> T:
        """What `read` returns or raises.

        Raises TimeoutError (an OSError) when the pool does not answer in time.
        """
        earlier = self._asked.get(pool)
        if earlier is not None and not earlier.done():
            raise TimeoutError("it has not answered yet what it was asked before")
        answer = self._asked[pool] = Future()
        threading.Thread(target=_run, args=(answer, read), name=f"pool {pool}", daemon=True).start()
        self.wait(self._seconds, pool)
        if not answer.done():
            raise TimeoutError(f"it has not answered for {self._seconds:.0f} s")
        found: T = answer.result()
        return found

    def wait(self, seconds: float, *pools: str) -> None:
        """Wait until these pools have answered, or all that were called."""
        concurrent.futures.wait([self._asked[pool] for pool in pools or self._asked], timeout=seconds)


def _run(answer: "Future[T]", read: Callable[[], T]) -> None:
    try:
        answer.set_result(read())
    except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
        answer.set_exception(error)
