"""Who looks at a console when its machine moves sees it go on: no byte missing, none twice, the pen kept."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from tests.console.conftest import Desk, Portal
from tests.worker.console_bench import Broker, ConsoleHost, Guest, wait_for
from webxen.accounts.models import User
from webxen.console import stream_history
from webxen.console.relay import connect
from webxen.console.stream_history import Place
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration.models import Move
from worker.contract import console_out_key, console_state_key


@pytest.fixture
def other(tmp_path: Path, broker: Broker) -> Any:
    folder = tmp_path / "xen2"
    folder.mkdir()
    host = ConsoleHost(folder, broker, "xen2")
    yield host
    host.close()


def arrive(desk: Desk, other: ConsoleHost) -> Guest:
    """The machine's domain comes up on the other host."""
    machine_id = str(desk.machine.id)
    (other.state_dir / "machines" / machine_id).mkdir(parents=True)
    guest = other.boot(machine_id, 4)
    other.start()
    other.wait_attached(machine_id)
    return guest


def settle(machine: Machine) -> None:
    """The portal has the verdict."""
    xen2 = Host.objects.create(name="xen2", public_key="x", created_at=timezone.now())
    Machine.objects.filter(id=machine.id).update(host=xen2)


def wait_for_broker(broker: Broker, machine: Machine, data: bytes) -> None:
    """Until the first host's console service has sent it: nobody else waits for that here."""
    key = console_out_key("xen1", str(machine.id))
    with broker.client() as client:
        wait_for(lambda: any(fields.get(b"d") == data for _, fields in client.xrange(key)), "the bytes")


def write_down_move(machine: Machine, user: User) -> None:
    """What the portal keeps of a move that is over."""
    now, xen1, xen2 = timezone.now(), Host.objects.get(name="xen1"), Host.objects.get(name="xen2")
    job = Job.objects.create(
        kind="MIGRATE",
        machine=machine,
        host=xen1,
        status="SUCCEEDED",
        created_at=now,
        fence=99,
    )
    Move.objects.create(
        job=job,
        source=xen1,
        target=xen2,
        method="LIVE",
        verdict="MOVED",
        phase="ENDED",
        deadline_seconds=60,
    )


class TestMovedConsole:
    async def test_goes_on_with_the_next_byte_and_keeps_the_pen(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost, other: ConsoleHost
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            guest.prints(b"counter 1\r\n" * 50)
            await viewer.until(lambda: len(viewer.data) == 550)
            moved = await sync_to_async(arrive)(desk, other)
            moved.prints(b"counter 2\r\n")
            guest.ends()
            await sync_to_async(settle)(desk.machine)
            await viewer.until(lambda: viewer.data.endswith(b"counter 2\r\n"), 20)
            assert viewer.data == b"counter 1\r\n" * 50 + b"counter 2\r\n"
            assert viewer.words("gap") == []
            await viewer.until(lambda: viewer.words("state")[-1]["state"] == "attached", 20)
            await viewer.types(b"uptime\r")
            assert await sync_to_async(moved.hears)(7) == b"uptime\r"
            assert [word for word in viewer.words("writer") if not word["mine"]] == []
            position = viewer.position
        # whoever comes later counts as those counted who were there
        async with portal.open(desk.machine, await desk.ticket(), offset=position - 11) as later:
            await later.until(lambda: later.data == b"counter 2\r\n")

    async def test_is_there_from_its_first_byte_for_who_comes_after_the_move(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost, other: ConsoleHost
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            guest.prints(b"before\r\n")
            await viewer.until(lambda: viewer.data == b"before\r\n")
            moved = await sync_to_async(arrive)(desk, other)
            moved.prints(b"after\r\n")
            guest.ends()
            await sync_to_async(settle)(desk.machine)
            await viewer.until(lambda: viewer.data == b"before\r\nafter\r\n", 20)
        async with portal.open(desk.machine, await desk.ticket()) as later:
            await later.until(lambda: later.data == b"before\r\nafter\r\n")
            assert later.words("gap") == []

    async def test_is_there_where_nobody_looked_at_the_move(
        self,
        portal: Portal,
        desk: Desk,
        guest: Guest,
        dom0: ConsoleHost,
        other: ConsoleHost,
        broker: Broker,
        dana: User,
    ) -> None:
        guest.prints(b"before\r\n")
        await asyncio.to_thread(wait_for_broker, broker, desk.machine, b"before\r\n")
        moved = await sync_to_async(arrive)(desk, other)
        moved.prints(b"after\r\n")
        guest.ends()
        await sync_to_async(settle)(desk.machine)
        await sync_to_async(write_down_move)(desk.machine, dana)
        for _ in range(2):
            async with portal.open(desk.machine, await desk.ticket()) as later:
                await later.until(lambda: later.data == b"before\r\nafter\r\n")
                assert later.words("gap") == []

    async def test_waits_for_what_the_old_host_tells_late(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost, other: ConsoleHost, broker: Broker
    ) -> None:
        machine_id = str(desk.machine.id)
        guest.prints(b"before\r\n")
        await asyncio.to_thread(wait_for_broker, broker, desk.machine, b"before\r\n")
        await sync_to_async(arrive)(desk, other)
        redis = connect(broker.url)
        old = Place("xen1", 0, 0)
        arriving = asyncio.create_task(stream_history.arrive(redis, "xen2", machine_id, old=old))
        await asyncio.sleep(0.5)
        assert not arriving.done(), "the old host still holds the console"
        guest.prints(b"late\r\n")
        await asyncio.to_thread(wait_for_broker, broker, desk.machine, b"late\r\n")
        assert not arriving.done(), "and it has not said that this was the last"
        guest.ends()
        assert (await arriving).start == len(b"before\r\nlate\r\n")
        await redis.aclose()

    async def test_waits_for_no_host_that_is_silent(
        self, desk: Desk, guest: Guest, dom0: ConsoleHost, other: ConsoleHost, broker: Broker
    ) -> None:
        machine_id = str(desk.machine.id)
        guest.prints(b"before\r\n")
        await asyncio.to_thread(wait_for_broker, broker, desk.machine, b"before\r\n")
        await sync_to_async(arrive)(desk, other)
        await asyncio.to_thread(dom0.kill)
        redis = connect(broker.url)
        await redis.delete(console_state_key("xen1", machine_id))  # as when nobody renews it
        async with asyncio.timeout(5):
            place = await stream_history.arrive(redis, "xen2", machine_id, old=Place("xen1", 0, 0))
        assert place.start == len(b"before\r\n")
        await redis.aclose()
