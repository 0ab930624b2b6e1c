"""Two dom0s with shared disks and a relay each, and the portal's side of a migration between them."""

import dataclasses
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from devtools.fakexl import overlaps
from tests.worker.console_bench import wait_for
from tests.worker.worker_host import WorkerHost
from worker.agent import executor
from worker.contract import (
    CancelJob,
    DomainSeen,
    MachineSpec,
    MigrateMachine,
    MoveFacts,
    MoveMethod,
    MoveSide,
    MoveVerdict,
    Order,
    ReceiveMachine,
    Report,
    SettleMove,
    settle_job_id,
)
from worker.ipc import relay_client
from worker.relayd.daemon import Relayd
from worker.settings import read


class Host:
    """One of the two hosts: its worker_host and its relay service."""

    def __init__(self, directory: Path, name: str, **host: Any) -> None:
        directory.mkdir()
        self.name = name
        self.worker_host = WorkerHost(directory, host=name, **host)
        self.worker_host.env |= {
            "WEBXEN_HOST": name,
            "WEBXEN_NETWORK_DIR": str(directory / "no-network"),
        }
        self.worker_host.settings = read(self.worker_host.env)
        self.relayd = Relayd(self.worker_host.settings)
        self._thread = threading.Thread(target=self.relayd.serve_for_ever, daemon=True)
        self._thread.start()

    @property
    def certificate(self) -> str:
        return relay_client.identify(self.worker_host.settings.relay_socket).certificate

    def obey(self, order: Order) -> None:
        """Execute an order, and wait until it has ended."""
        executor.obey(
            self.worker_host.dom0(), self.worker_host.envelope(order, host=self.name), now=int(time.time())
        )

    def begin(self, order: Order) -> threading.Thread:
        thread = threading.Thread(target=self.obey, args=(order,), daemon=True)
        thread.start()
        return thread

    def facts_of(self, job_id: str) -> MoveFacts:
        facts = self.worker_host.end_of(job_id).move
        assert facts is not None
        return facts

    def powers(self, machine: MachineSpec) -> dict[str, str]:
        """Return name → power of the machine's domains on this host."""
        found = self.worker_host.dom0().xl.domains()
        return {domain.name: domain.power for domain in found if domain.uuid == machine.id}

    def stop_relayd(self) -> None:
        if self._thread.is_alive():
            self.relayd.stop()
            self._thread.join(5)

    def close(self) -> None:
        self.stop_relayd()
        self.worker_host.close()


@dataclasses.dataclass
class Ends:
    """The results of a migration on both hosts."""

    source: Report
    target: Report


class Pair:
    """Two hosts with one store of disks, unless each has its own."""

    def __init__(self, directory: Path, *, is_shared: bool = True, **host: Any) -> None:
        self.a = Host(directory / "a", "xen1", **host)
        self.b = Host(directory / "b", "xen2", **host)
        store, other = self.a.worker_host, self.b.worker_host
        other.portal_private = store.portal_private
        other.settings.portal_key_file.write_bytes(store.settings.portal_key_file.read_bytes())
        if is_shared:
            other.settings.disks_dir.rmdir()
            other.settings.disks_dir.symlink_to(store.settings.disks_dir)
        self.fence = 1000

    def machine(self, **values: Any) -> MachineSpec:
        """A machine that runs on the first host."""
        machine = self.a.worker_host.machine(**values)
        self.a.worker_host.listen()
        assert self.a.worker_host.do(self.a.worker_host.dom0(), "create", machine).event == "SUCCEEDED"
        return machine

    def start(self, machine: MachineSpec) -> Report:
        """Start a machine on the first host, whatever its present state."""
        self.fence += 1
        order = self.a.worker_host.order("start", machine, fence=self.fence)
        return self.a.worker_host.obey(self.a.worker_host.dom0(), order)

    def power_off(self, machine: MachineSpec) -> None:
        """Power it off on the first host."""
        self.fence += 1
        order = self.a.worker_host.order("poweroff", machine, fence=self.fence)
        assert self.a.worker_host.obey(self.a.worker_host.dom0(), order).event == "SUCCEEDED"

    def receive(self, machine: MachineSpec, source: Host, **values: Any) -> ReceiveMachine:
        self.fence += 1
        defaults: dict[str, Any] = {"job_id": str(uuid.uuid4()), "fence": self.fence, "deadline_seconds": 30}
        return ReceiveMachine(
            **{**defaults, **values}, machine=machine, source=source.name, certificate=source.certificate
        )

    def listen(self, target: Host, order: ReceiveMachine) -> tuple[threading.Thread, int]:
        """Send RECEIVE; return the port it listens at."""
        thread = target.begin(order)
        return thread, wait_for(lambda: self._port(target, order), "the listening target")

    def _port(self, target: Host, order: ReceiveMachine) -> int:
        told = [
            r.move.port for r in target.worker_host.reports if r.job_id == order.job_id and r.move is not None
        ]
        return max(told, default=0)

    def migrate(self, order: ReceiveMachine, port: int, target: Host, **values: Any) -> MigrateMachine:
        return MigrateMachine(
            job_id=order.job_id,
            fence=order.fence,
            machine=order.machine,
            target=target.name,
            address="127.0.0.1",
            port=port,
            certificate=target.certificate,
            method=order.method,
            copied=order.copied,
            restarts=order.restarts,
            **{"deadline_seconds": 30, **values},
        )

    def move(
        self,
        machine: MachineSpec,
        source: Host,
        target: Host,
        *,
        method: MoveMethod = "LIVE",
        cold: dict[str, Any] | None = None,
        **values: Any,
    ) -> Ends:
        """Run a whole migration as the portal does, without settling."""
        receive = self.receive(machine, source, method=method, **(cold or {}))
        thread, port = self.listen(target, receive)
        source.obey(self.migrate(receive, port, target, **values))
        if not self.facts_reached(source, receive.job_id):
            self.cancel(target, receive)  # as the portal does if the source will not connect
        thread.join(30)
        return Ends(source.worker_host.end_of(receive.job_id), target.worker_host.end_of(receive.job_id))

    @staticmethod
    def facts_reached(source: Host, job_id: str) -> bool:
        move = source.worker_host.end_of(job_id).move
        return move is not None and move.phase != "NONE"

    def settle(
        self,
        ends: Ends,
        machine: MachineSpec,
        host: Host,
        side: MoveSide,
        verdict: MoveVerdict,
        *,
        attempt: int = 0,
    ) -> Report:
        job_id = settle_job_id(ends.source.job_id, side, attempt)
        order = SettleMove(
            job_id, self.fence, machine, ends.source.job_id, side, verdict, deadline_seconds=120
        )
        host.obey(order)
        return host.worker_host.end_of(job_id)

    def cancel(self, host: Host, order: Order) -> None:
        machine = order.machine  # type: ignore[attr-defined]
        host.obey(CancelJob(job_id=order.job_id, fence=order.fence, machine=machine))

    def ran_twice(self) -> list[Any]:
        return list(overlaps([host.worker_host.stand_in.directory for host in (self.a, self.b)]))

    def close(self) -> None:
        self.a.close()
        self.b.close()


def names(seen: tuple[DomainSeen, ...] | None) -> dict[str, str]:
    assert seen is not None
    return {domain.domain: domain.power for domain in seen}
