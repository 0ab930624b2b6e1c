"""A client of QEMU's control socket (QMP): stop, save, continue, quit."""

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devtools.lab.paths import LabError


class Qmp:
    """A connection to one QEMU. Every wait has a time limit; errors raise LabError."""

    def __init__(self, path: Path, *, timeout_seconds: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(path))
            self._file = self._socket.makefile("rwb")
            self._read()
            self.ask("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise LabError(f"QEMU does not answer on {path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file keeps the connection open too, and QEMU serves one client at a time.
        self._file.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        while True:
            line = self._file.readline()
            if not line:
                raise LabError("QEMU closed its control socket.")
            message: dict[str, Any] = json.loads(line)
            if "event" not in message:
                return message

    def ask(self, command: str, **arguments: Any) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
            answer = self._read()
        except OSError as error:
            raise LabError(f"QEMU did not answer to {command}: {error}") from error
        if "error" in answer:
            raise LabError(f"QEMU refused {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def status(self) -> str:
        return str(self.ask("query-status")["status"])

    def wait_for_status(self, wanted: str, *, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self.status() != wanted:
            if time.monotonic() > deadline:
                raise LabError(f"QEMU is {self.status()}, not {wanted}, after {timeout_seconds:g} s.")
            time.sleep(0.05)

    def save_to(self, path: Path, *, timeout_seconds: float = 120) -> None:
        """Stop the machine and write its memory and devices to a file; its disks are consistent then."""
        self.ask("stop")
        # the path is the lab's own; it is quoted for the shell that QEMU starts (see LabPaths)
        quoted = "'" + str(path).replace("'", "'\\''") + "'"
        self.ask("migrate-set-parameters", **{"max-bandwidth": 10 << 30})
        self.ask("migrate", uri=f"exec:zstd -q -1 -f -o {quoted}")
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = self.ask("query-migrate")
            if answer.get("status") == "completed":
                return
            if answer.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
                self.ask("cont")
                raise LabError(f"QEMU could not save the machine: {answer.get('error-desc', answer)}")
            time.sleep(0.05)
