"""The console socket over a real server, from keystroke to guest and back."""

import asyncio
import contextlib
import time
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.console.conftest import Desk, Portal
from tests.worker.console_bench import Broker, ConsoleHost, Guest
from webxen.accounts import operations as tokens
from webxen.accounts.models import Membership, User
from webxen.console import consumers, relay
from webxen.core.models import AuditEntry
from webxen.machines.models import Machine

KIB = 1 << 10


async def is_refused(portal: Portal, machine: Machine, ticket: str, **options: Any) -> bool:
    try:
        async with portal.open(machine, ticket, **options):
            return False
    except InvalidStatus as refusal:
        return refusal.response.status_code == 403


async def close_code(portal: Portal, desk: Desk, *frames: str | bytes) -> int:
    async with portal.open(desk.machine, await desk.ticket()) as viewer:
        with contextlib.suppress(ConnectionClosed):
            for frame in frames:
                await viewer.socket.send(frame)
            await viewer.until(lambda: False, 60)
    assert viewer.socket.close_code is not None
    return viewer.socket.close_code


class TestHandshake:
    async def test_an_address_we_do_not_have_is_refused(self, portal: Portal) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(portal.address("/ws/nowhere/")):
                pass

    async def test_a_ticket_opens_one_socket(self, portal: Portal, desk: Desk, guest: Guest) -> None:
        ticket = await desk.ticket()
        async with portal.open(desk.machine, ticket) as viewer:
            assert viewer.socket.subprotocol == "webxen.console.v1"
            await viewer.until(lambda: viewer.words("state"))
            assert viewer.words("hello") == [
                {"type": "hello", "offset": 0, "end": 0, "writer": "alice", "mine": True, "viewers": 1}
            ]
            assert viewer.words("state") == [{"type": "state", "state": "attached", "reason": ""}]
            assert await is_refused(portal, desk.machine, ticket)

    async def test_no_old_or_made_up_ticket_opens_any(self, portal: Portal, desk: Desk) -> None:
        assert await is_refused(portal, desk.machine, "made-up")
        assert await is_refused(portal, desk.machine, await desk.ticket(ago_seconds=61))

    async def test_a_ticket_for_another_machine_is_refused(self, portal: Portal, desk: Desk) -> None:
        ticket = await desk.ticket()
        assert await is_refused(portal, Machine(id=uuid4()), ticket)

    @pytest.mark.parametrize("origin", ["http://evil.test", "null", "https://127.0.0.1"])
    async def test_a_foreign_page_is_refused(self, portal: Portal, desk: Desk, origin: str) -> None:
        ticket = await desk.ticket()
        assert await is_refused(portal, desk.machine, ticket, origin=origin)
        assert not await is_refused(portal, desk.machine, ticket)  # and the ticket was not spent on it

    async def test_a_program_without_an_origin_is_let_in(self, portal: Portal, desk: Desk) -> None:
        assert not await is_refused(portal, desk.machine, await desk.ticket(), origin=None)

    async def test_somebody_who_lost_the_right_since_is_refused(
        self, portal: Portal, desk: Desk, bob: User
    ) -> None:
        ticket = await desk.ticket(bob)
        await sync_to_async(Membership.objects.filter(user=bob).delete)()
        assert await is_refused(portal, desk.machine, ticket)


class TestBytes:
    async def test_the_boot_log_is_there_before_anybody_looked(
        self, portal: Portal, desk: Desk, guest: Guest
    ) -> None:
        guest.prints(b"Linux version 6.12\r\nweb1 login: ")
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.data == b"Linux version 6.12\r\nweb1 login: ")

    async def test_keystrokes_reach_the_guest_control_bracket_too(
        self, portal: Portal, desk: Desk, guest: Guest
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            await viewer.types(b"ls\x1d\x03\r")
            assert await asyncio.to_thread(guest.hears, 5) == b"ls\x1d\x03\r"
            guest.prints(b"\xff\xfe\xd0")  # bytes are bytes, whole characters or not
            await viewer.until(lambda: viewer.data == b"\xff\xfe\xd0")

    async def test_coming_back_with_an_offset_brings_what_was_missed(
        self, portal: Portal, desk: Desk, guest: Guest
    ) -> None:
        guest.prints(b"0123456789")
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: len(viewer.data) == 10)
        guest.prints(b"abc")
        async with portal.open(desk.machine, await desk.ticket(), offset=10) as viewer:
            await viewer.until(lambda: viewer.data == b"abc")
            assert not viewer.words("gap")

    async def test_bytes_no_longer_kept_are_announced_as_a_gap(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost
    ) -> None:
        line = b"x" * 63 + b"\n"
        await asyncio.to_thread(lambda: [guest.prints(line * 64) for _ in range(512)])
        await asyncio.to_thread(dom0_has, dom0, guest.machine_id, 2048 * KIB)
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.position == 2048 * KIB, 30)
            (gap,) = viewer.words("gap")
            assert gap["from"] == 0
            assert gap["to"] == viewer.words("hello")[0]["offset"]
            assert gap["to"] + len(viewer.data) == 2048 * KIB
            assert len(viewer.data) >= 1024 * KIB

    async def test_a_viewer_who_does_not_acknowledge_gets_a_window_and_then_the_gap(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            viewer.is_acknowledging = False
            line = b"y" * 63 + b"\n"
            await asyncio.to_thread(lambda: [guest.prints(line * 64) for _ in range(640)])
            await asyncio.to_thread(dom0_has, dom0, guest.machine_id, 2560 * KIB)
            with pytest.raises(TimeoutError):
                await viewer.until(lambda: False, 1)
            assert len(viewer.data) == 128 * KIB
            viewer.is_acknowledging = True
            await viewer.say(type="ack", offset=viewer.position)
            await viewer.until(lambda: viewer.position == 2560 * KIB, 30)
            lost = sum(word["to"] - word["from"] for word in viewer.words("gap"))
            assert lost > 0
            assert len(viewer.data) + lost == 2560 * KIB

    async def test_one_who_never_acknowledges_is_let_go(
        self, portal: Portal, desk: Desk, guest: Guest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "TIMEOUT_SECONDS", 0.2)
        monkeypatch.setattr(consumers, "RENEW_SECONDS", 0.3)
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            viewer.is_acknowledging = False
            await asyncio.to_thread(guest.prints, b"z" * 200 * KIB)
            with pytest.raises(ConnectionClosed):
                await viewer.until(lambda: False)
        assert viewer.socket.close_code == 4408

    async def test_a_flood_on_one_console_leaves_its_neighbour_quick(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost, make_machine: Any
    ) -> None:
        other = Desk(await sync_to_async(make_machine)("web2"), desk.owner)
        (dom0.state_dir / "machines" / str(other.machine.id)).mkdir()
        quiet = dom0.boot(str(other.machine.id), 2)
        await asyncio.to_thread(dom0.wait_attached, str(other.machine.id))
        async with (
            portal.open(desk.machine, await desk.ticket()) as loud_viewer,
            portal.open(other.machine, await other.ticket()) as viewer,
        ):
            await viewer.until(lambda: viewer.words("state"))
            drinking = asyncio.create_task(loud_viewer.until(lambda: False, 60))
            flood = asyncio.create_task(asyncio.to_thread(guest.prints, b"flood\r\n" * 600_000))
            said = b""
            for number in range(40):
                said += b"%04d" % number
                await viewer.types(b"%04d" % number)
                assert await asyncio.to_thread(quiet.hears, 4) == b"%04d" % number
                quiet.prints(b"%04d" % number)
                await viewer.until(partial_is(viewer, said), 5)
            await flood
            drinking.cancel()
            await asyncio.gather(drinking, return_exceptions=True)


def partial_is(viewer: Any, said: bytes) -> Any:
    return lambda: viewer.data == said


def dom0_has(dom0: ConsoleHost, machine_id: str, size: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        pieces = list(dom0.pieces(machine_id))
        if pieces and pieces[-1][0] + len(pieces[-1][1]) >= size:
            return
        time.sleep(0.1)
    raise AssertionError(f"the stream of {machine_id} did not reach {size}")


class TestPen:
    async def test_one_writes_and_the_other_takes_over(
        self, portal: Portal, desk: Desk, guest: Guest, bob: User
    ) -> None:
        async with (
            portal.open(desk.machine, await desk.ticket()) as alices,
            portal.open(desk.machine, await desk.ticket(bob)) as bobs,
        ):
            await bobs.until(lambda: bobs.words("state"))
            assert bobs.words("hello")[0]["writer"] == "alice"
            assert bobs.words("hello")[0]["viewers"] == 2
            # her own hello may have come late enough to know of both
            await alices.until(
                lambda: 2 in [said["viewers"] for said in (*alices.words("hello"), *alices.words("writer"))]
            )
            await bobs.types(b"no")
            await bobs.say(type="take")
            await bobs.until(lambda: any(word["mine"] for word in bobs.words("writer")))
            await bobs.types(b"yes")
            assert await asyncio.to_thread(guest.hears, 5, 2) == b"yes"
            await alices.until(lambda: any(said["user"] == "bob" for said in alices.words("writer")))
            assert alices.words("writer")[-1]["mine"] is False

    async def test_a_pen_given_back_is_picked_up_by_typing(
        self, portal: Portal, desk: Desk, guest: Guest, bob: User
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket(bob)) as bobs:
            async with portal.open(desk.machine, await desk.ticket()) as alices:
                await alices.until(lambda: alices.words("state"))
                await bobs.say(type="release")
                await alices.until(lambda: any(word["user"] == "" for word in alices.words("writer")))
                await alices.types(b"mine now")
                assert await asyncio.to_thread(guest.hears, 8) == b"mine now"
                await bobs.until(lambda: any(word["user"] == "alice" for word in bobs.words("writer")))
            # alice has left
            await bobs.until(lambda: bobs.words("writer")[-1]["user"] == "")
            assert bobs.words("writer")[-1]["viewers"] == 1


class TestLimits:
    async def test_ten_sockets_a_person(self, portal: Portal, desk: Desk, bob: User) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(10):
                viewer = await stack.enter_async_context(portal.open(desk.machine, await desk.ticket()))
                await viewer.until(lambda viewer=viewer: viewer.words("state"))
            one_more = await stack.enter_async_context(portal.open(desk.machine, await desk.ticket()))
            with pytest.raises(ConnectionClosed):
                await one_more.until(lambda: False)
            assert one_more.socket.close_code == 4429
            bobs = await stack.enter_async_context(portal.open(desk.machine, await desk.ticket(bob)))
            await bobs.until(lambda: bobs.words("state"))
            assert bobs.words("hello")[0]["viewers"] == 11

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            pytest.param(b"x" * 8193, 1009, id="too many bytes"),
            pytest.param("x" * 8193, 1009, id="too much text"),
            pytest.param("not json", 4400, id="no JSON"),
            pytest.param("[" * 8000, 4400, id="deep JSON"),
            pytest.param('{"type": "resize", "rows": 0, "columns": -1}', 4400, id="an unknown word"),
        ],
    )
    async def test_bad_frames_end_the_socket(
        self, portal: Portal, desk: Desk, frame: str | bytes, code: int
    ) -> None:
        assert await close_code(portal, desk, frame) == code

    async def test_a_mebibyte_ends_the_socket(self, portal: Portal, desk: Desk) -> None:
        # the server reads no further: the line may be cut before its reason has come
        assert await close_code(portal, desk, b"x" * (1 << 20)) in (1009, 1006)

    async def test_a_flood_of_talk_ends_the_socket(self, portal: Portal, desk: Desk) -> None:
        assert await close_code(portal, desk, *['{"type": "ack", "offset": 0}'] * 2000) == 4400

    async def test_every_piece_may_be_acknowledged_however_many_come(
        self, portal: Portal, desk: Desk, guest: Guest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "CHUNK_BYTES", 10)
        await asyncio.to_thread(guest.prints, b"a boot log\r\n" * 2000)
        async with portal.open(desk.machine, await desk.ticket(), offset=0) as viewer:
            await viewer.until(lambda: len(viewer.data) >= 12 * 2000)
            await viewer.say(type="release")
            await viewer.until(lambda: viewer.words("writer"))


class TestRights:
    async def test_a_right_lost_closes_the_socket(
        self, portal: Portal, desk: Desk, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.4)
        monkeypatch.setattr(consumers, "RENEW_SECONDS", 0.2)
        async with portal.open(desk.machine, await desk.ticket(bob)) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            await sync_to_async(Membership.objects.filter(user=bob).delete)()
            with pytest.raises(ConnectionClosed):
                await viewer.until(lambda: False)
        assert viewer.socket.close_code == 4403

    async def test_a_deleted_machine_closes_the_socket_and_says_so(
        self, portal: Portal, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.4)
        monkeypatch.setattr(consumers, "RENEW_SECONDS", 0.2)
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            gone = Machine.objects.filter(id=desk.machine.id)
            await sync_to_async(gone.update)(state=Machine.State.DELETED)
            with pytest.raises(ConnectionClosed):
                await viewer.until(lambda: False)
        assert (viewer.socket.close_code, viewer.socket.close_reason) == (4404, "the machine is deleted")

    async def test_a_revoked_token_closes_what_it_opened(
        self, portal: Portal, desk: Desk, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.4)
        monkeypatch.setattr(consumers, "RENEW_SECONDS", 0.2)
        now = timezone.now()
        token, _ = await sync_to_async(tokens.create_token)(user=alice, name="ci", expires_at=None, now=now)
        async with portal.open(desk.machine, await desk.ticket(token=token)) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            await sync_to_async(tokens.revoke_token)(user=alice, token_id=token.id, now=now)
            with pytest.raises(ConnectionClosed):
                await viewer.until(lambda: False)
        assert viewer.socket.close_code == 4403

    async def test_a_changed_password_closes_what_another_browser_opened(
        self, portal: Portal, desk: Desk, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.4)
        monkeypatch.setattr(consumers, "RENEW_SECONDS", 0.2)

        def session_of_a_browser() -> str:
            browser = Client()
            browser.force_login(alice)
            return str(browser.session.session_key)

        def change_password() -> None:
            alice.set_password("another phrase altogether")
            alice.save()

        ticket = await desk.ticket(session_key=await sync_to_async(session_of_a_browser)())
        async with portal.open(desk.machine, ticket) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            await sync_to_async(change_password)()
            with pytest.raises(ConnectionClosed):
                await viewer.until(lambda: False)
        assert viewer.socket.close_code == 4403

    async def test_is_looked_at_often_enough(self) -> None:
        assert consumers.RIGHTS_SECONDS + consumers.RENEW_SECONDS <= 30

    async def test_an_offset_chosen_by_the_client_keeps_nobody_out_of_the_audit(
        self, portal: Portal, desk: Desk, dana: User
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket(dana), offset=1) as viewer:
            await viewer.until(lambda: viewer.words("state"))
        lines = AuditEntry.objects.filter(action="OPEN_CONSOLE", actor=dana)
        assert await sync_to_async(lines.count)() == 1


class TestFaults:
    async def test_the_end_of_the_machine_is_told_and_its_next_boot_follows(
        self, portal: Portal, desk: Desk, guest: Guest, dom0: ConsoleHost
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            guest.prints(b"going down")
            # a terminal that is hung up gives back nothing of what it still held: tty_ldisc_hangup in Linux
            await viewer.until(lambda: viewer.data == b"going down")
            guest.ends()
            await viewer.until(lambda: viewer.words("state")[-1]["state"] == "detached")
            assert viewer.words("state")[-1]["reason"] == "the machine is not running"
            dom0.boot(guest.machine_id, 2).prints(b" and up")
            await viewer.until(lambda: viewer.data == b"going down and up")
            await viewer.until(lambda: viewer.words("state")[-1]["state"] == "attached")

    async def test_a_killed_console_service_is_noticed_and_comes_back(
        self,
        portal: Portal,
        desk: Desk,
        guest: Guest,
        dom0: ConsoleHost,
        broker: Broker,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(relay, "LOOK_SECONDS", 0.2)
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            dom0.kill()
            with broker.client() as client:  # the state expires in 30 s; here it does at once
                client.delete(f"dom0.xen1.console.{guest.machine_id}.state")
            await viewer.until(lambda: "does not answer" in viewer.words("state")[-1]["reason"])
            dom0.start()
            guest.prints(b"still here")
            await viewer.until(lambda: viewer.data == b"still here")
            await viewer.until(lambda: viewer.words("state")[-1]["state"] == "attached")

    async def test_a_broker_away_is_told_and_the_socket_goes_on_after(
        self, portal: Portal, desk: Desk, guest: Guest, broker: Broker
    ) -> None:
        async with portal.open(desk.machine, await desk.ticket()) as viewer:
            await viewer.until(lambda: viewer.words("state"))
            broker.stop()
            await viewer.until(lambda: "broker is away" in viewer.words("state")[-1]["reason"])
            guest.prints(b"meanwhile")
            await asyncio.to_thread(broker.start)
            await viewer.until(lambda: viewer.data == b"meanwhile", 15)
            await viewer.until(lambda: viewer.words("state")[-1]["state"] == "attached")
