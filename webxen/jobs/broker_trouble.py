"""Messages why the broker did not accept an order, shown with the waiting job. Pure.

The job stays QUEUED and `dispatch` sends it again.
"""

from redis import exceptions as redis

AWAY = "The message broker is away. The job is sent as soon as it is back."
BUSY = "The message broker is busy with a script. The job is sent as soon as that has ended."
FULL = "The message broker's memory is full: staff must look. The job is sent as soon as there is room."
DISK = "The message broker cannot save to its disk: staff must look. The job is sent as soon as it can."
LOADING = "The message broker is starting. The job is sent as soon as it is ready."
READ_ONLY = (
    "The message broker takes nothing in for now: staff must look. The job is sent as soon as it does."
)
CROWDED = "The message broker has too many connections: staff must look. The job is sent when there is room."
LOCKED_OUT = "The message broker refuses the portal's account: staff must look. The job is sent after that."
REFUSED = "The message broker refused the order: staff finds why in the portal's log. The job is sent again."

ALL = (AWAY, BUSY, FULL, DISK, LOADING, READ_ONLY, CROWDED, LOCKED_OUT, REFUSED)

CROWD = "max number of clients reached"
#: errors with a class in redis-py, narrower classes first
_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (redis.OutOfMemoryError, FULL),
    (redis.BusyLoadingError, LOADING),
    (redis.ReadOnlyError, READ_ONLY),
    (redis.NoPermissionError, LOCKED_OUT),
    (redis.AuthenticationError, LOCKED_OUT),
    (redis.ConnectionError, AWAY),
    (redis.TimeoutError, AWAY),
)
#: other errors, by the server's error code
_BY_WORD = {
    "BUSY": BUSY,
    "OOM": FULL,
    "MISCONF": DISK,
    "LOADING": LOADING,
    "READONLY": READ_ONLY,
    "NOREPLICAS": READ_ONLY,
    "MASTERDOWN": READ_ONLY,
    "NOAUTH": LOCKED_OUT,
    "WRONGPASS": LOCKED_OUT,
    "NOPERM": LOCKED_OUT,
}


def words_for(error: BaseException) -> str:
    """Return one of ALL. Follows `__cause__`, because Celery and Kombu wrap the client's error."""
    cause: BaseException | None = error
    while cause is not None:
        if CROWD in str(cause):
            return CROWDED
        for kind, words in _BY_CLASS:
            if isinstance(cause, kind):
                return words
        if isinstance(cause, redis.ResponseError):
            # in a transaction: "Command # 1 (…) of pipeline caused error: BUSY …"
            first = str(cause).rpartition("caused error: ")[2].split(" ")[0]
            return _BY_WORD.get(first, REFUSED)
        cause = cause.__cause__
    return AWAY
