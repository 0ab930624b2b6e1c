"""Log format of all portal processes: one JSON object per line with time, level, logger, request id, message.

Contains the formatter used by settings.LOGGING, and hooks for output that bypasses logging.
"""

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

log = logging.getLogger(__name__)


def _note_request(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add the request id to every line (empty outside of a request), and other known values."""
    known = {name: value for name, value in structlog.contextvars.get_contextvars().items() if value}
    return {"request_id": "", **known, **line}


def json_formatter() -> structlog.stdlib.ProcessorFormatter:
    """Return the formatter of all handlers. A traceback is one string in the line, under `exception`."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _note_request,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
    )


def say(message: str, *_file: Any) -> None:
    """Write a log line from a signal handler, where the buffers of a logging handler must not be used."""
    record = logging.LogRecord("celery", logging.INFO, __file__, 0, message, (), None)
    os.write(2, (json_formatter().format(record) + "\n").encode())


def install() -> None:
    """Log warnings and uncaught exceptions in the same format. Call once per process."""
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda caught: _log_uncaught(
        caught.exc_type, caught.exc_value, caught.exc_traceback, caught.thread
    )


def _log_uncaught(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    thread: threading.Thread | None = None,
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    where = thread.name if thread else "the main thread"
    log.critical("uncaught exception in %s", where, exc_info=(kind, error or kind(), trace))
