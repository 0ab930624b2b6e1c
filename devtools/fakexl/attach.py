"""`xl console` of the stand-in: connects the caller's terminal to a domain's pty until Ctrl-]."""

import os
import select
import sys
import termios
import tty

DETACH = b"\x1d"


def attach(path: str) -> int:
    """Connect standard input and output to the pty. Returns the exit code of xl console."""
    console = os.open(path, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(0) if sys.stdin.isatty() else None
    if before:
        tty.setraw(0)
    try:
        return _pump(console)
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _pump(console: int) -> int:
    inputs = [console, 0]
    while True:
        readable, _, _ = select.select(inputs, [], [])
        if console in readable:
            try:
                os.write(1, os.read(console, 4096))
            except OSError:
                return 0
        if 0 in readable:
            typed = os.read(0, 4096)
            if DETACH in typed:
                return 0
            if typed:
                os.write(console, typed)
            else:
                inputs.remove(0)
