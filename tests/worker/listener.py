"""consoled in a thread and without Redis: writes every console of the stand-in to its log.

The real one is used where a test covers the whole worker (test_whole_worker); starting it for each small test
would take longer than the test.
"""

import contextlib
import json
import os
import threading
from pathlib import Path


class Listener:
    def __init__(self, stand_in: Path, console_dir: Path) -> None:
        self._state = stand_in / "state.json"
        self._console_dir = console_dir
        self._open: dict[str, int] = {}
        self._known: list[tuple[str, str, str]] = []
        self._known_at = (0, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        for descriptor in self._open.values():
            os.close(descriptor)

    def _run(self) -> None:
        while not self._stopped.wait(0.03):
            for domid, uuid, tty in self._domains():
                key = f"{domid} {tty}"
                if tty and key not in self._open:
                    self._open_one(key, tty)
                if key in self._open:
                    self._pump(key, uuid)

    def _domains(self) -> list[tuple[str, str, str]]:
        try:
            seen = self._state.stat()
            if (seen.st_ino, seen.st_mtime_ns) != self._known_at:  # the file is replaced, never written to
                found = json.loads(self._state.read_text())["domains"]
                self._known = [(domid, domain["uuid"], domain["tty"]) for domid, domain in found.items()]
                self._known_at = (seen.st_ino, seen.st_mtime_ns)
        except (FileNotFoundError, ValueError):
            return []
        return self._known

    def _open_one(self, key: str, tty: str) -> None:
        try:
            self._open[key] = os.open(tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return  # ended meanwhile

    def _pump(self, key: str, uuid: str) -> None:
        try:
            text = os.read(self._open[key], 65536)
        except OSError:  # nothing to read, or the other end is closed
            return
        # on a full disk a guest's output is lost, as in the real service
        with contextlib.suppress(OSError), (self._console_dir / f"{uuid}.log").open("ab") as log:
            log.write(text)
