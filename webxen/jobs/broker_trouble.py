"""Messages why the broker did not accept an order, shown with the waiting job. Pure.

The job stays QUEUED and `dispatch` sends it again.
"""

from redis import exceptions as redis

from webxen.core.messages import Message

AWAY = Message("BROKER_AWAY")
BUSY = Message("BROKER_BUSY")
FULL = Message("BROKER_OUT_OF_MEMORY")
DISK = Message("BROKER_DISK_FAILS")
LOADING = Message("BROKER_STARTING")
READ_ONLY = Message("BROKER_READ_ONLY")
CROWDED = Message("BROKER_TOO_MANY_CONNECTIONS")
LOCKED_OUT = Message("BROKER_REFUSES_ACCOUNT")
REFUSED = Message("BROKER_REFUSES_ORDER")

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
