"""Storage that does not answer, as NFS whose server is away: who asks it waits so long and no longer.

Lives here: `PoolProbe`. Standard library only.
"""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

#: a pool that works answers in a second, on an emulated host in three
SECONDS = 10.0

T = TypeVar("T")


class PoolProbe:
    """For one thread that asks several pools, of which one must not keep it from the others.

    A call into a file system that hangs cannot be taken back, so it is left to a thread of its own, and that
    pool is asked nothing more until it has answered.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._asked: dict[str, Future[Any]] = {}

    def ask(self, pool: str, read: Callable[[], T]) -> T:
        """What `read` returns or raises; TimeoutError, an OSError, when the pool does not answer."""
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
        """Until these have answered, or all that were asked."""
        concurrent.futures.wait([self._asked[pool] for pool in pools or self._asked], timeout=seconds)


def _run(answer: "Future[T]", read: Callable[[], T]) -> None:
    try:
        answer.set_result(read())
    except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
        answer.set_exception(error)
