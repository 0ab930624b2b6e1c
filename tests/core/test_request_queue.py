"""Many requests at once: few are inside, all are answered, and nobody's crowd keeps the others waiting."""

import asyncio
from collections import Counter

import pytest

from webxen.asgi import render
from webxen.core.request_queue import (
    IS_KNOWN,
    LIMITED,
    Seats,
    address_of,
    credential_of,
    network_of,
    with_request_queue,
)


def scope_of(method, *, address="192.0.2.1", token=None, cookie=None, path="/api/v1/me/"):
    headers = [] if token is None else [(b"authorization", b"Bearer " + token)]
    headers += [] if cookie is None else [(b"cookie", cookie)]
    return {"type": "http", "method": method, "path": path, "headers": headers, "client": (address, 1)}


async def stays():
    await asyncio.sleep(60)


async def has_gone():
    return {"type": "http.disconnect"}


def queued(inside, *, writers=4, readers=4):
    return with_request_queue(
        inside, writers=writers, readers=readers, session_cookie="sessionid", render=render
    )


def crowd(method, *, seats, people, token=None):
    """So many requests at once; the most that were inside together, and how many were answered."""
    inside, most, answered = 0, 0, 0

    async def slow(scope, receive, send):
        nonlocal inside, most, answered
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        answered += 1
        scope[IS_KNOWN] = token is not None

    async def run():
        app = queued(slow, writers=seats, readers=seats)
        if token:
            await app(scope_of(method, token=token), stays, None)
        await asyncio.gather(*(app(scope_of(method, token=token), stays, None) for _ in range(people)))

    asyncio.run(run())
    return most, answered


class TestRequestQueue:
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_lets_few_in_and_answers_all(self, method):
        assert crowd(method, seats=8, people=50, token=b"wx_good") == (6, 51)

    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_has_one_seat_in_four_for_strangers(self, method):
        assert crowd(method, seats=8, people=50) == (2, 50)

    def test_has_a_seat_for_strangers_and_one_for_the_known_even_where_there_is_one(self):
        assert crowd("POST", seats=1, people=9) == (1, 9)
        assert crowd("POST", seats=1, people=9, token=b"wx_good") == (1, 10)

    def test_is_open_again_after_an_error(self):
        async def broken(scope, receive, send):
            raise ValueError

        async def run():
            app = queued(broken, writers=1)
            asking = (app(scope_of("POST"), stays, None) for _ in range(3))
            return await asyncio.gather(*asking, return_exceptions=True)

        assert [type(error) for error in asyncio.run(run())] == [ValueError] * 3

    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_strangers_who_stay_inside_keep_nobody_out_who_is_known(self, method):
        async def run():
            gate, answered = asyncio.Event(), []

            async def door(scope, receive, send):
                is_good = credential_of(scope, "sessionid") == credential_of(
                    scope_of("GET", token=b"wx_good"), "sessionid"
                )
                if not is_good:
                    await gate.wait()
                scope[IS_KNOWN] = is_good
                answered.append(is_good)

            app = queued(door)
            await app(scope_of(method, token=b"wx_good"), stays, None)
            strangers = [
                asyncio.create_task(app(scope_of(method, token=b"wx_%d" % n), stays, None)) for n in range(50)
            ]
            await asyncio.sleep(0)
            await asyncio.wait_for(app(scope_of(method, token=b"wx_good"), stays, None), 10)
            assert answered == [True, True]
            gate.set()
            await asyncio.gather(*strangers)
            return Counter(answered)

        assert asyncio.run(run()) == {True: 2, False: 50}

    def test_a_token_that_is_good_no_longer_is_a_strangers_again(self):
        async def run():
            verdicts, inside, most = iter([True, False]), 0, 0

            async def door(scope, receive, send):
                nonlocal inside, most
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1
                scope[IS_KNOWN] = next(verdicts, False)

            app = queued(door, readers=8)
            for _ in range(2):
                await app(scope_of("GET", token=b"wx_1"), stays, None)
            await asyncio.gather(*(app(scope_of("GET", token=b"wx_1"), stays, None) for _ in range(20)))
            return most

        assert asyncio.run(run()) == 2


class TestWaiting:
    def run_full(self, method, receive, *, is_known=False):
        """One request that waits behind another; whether it was let in after that one had ended."""

        async def run():
            gate, entered = asyncio.Event(), []

            async def door(scope, _receive, _send):
                scope[IS_KNOWN] = is_known
                entered.append(scope["client"][0])
                if scope["client"][0] == "192.0.2.9":
                    await gate.wait()

            app = queued(door, writers=1, readers=1)
            if is_known:
                await app(scope_of(method, token=b"wx_1"), stays, None)
            first = asyncio.create_task(
                app(scope_of(method, address="192.0.2.9", token=b"wx_1"), stays, None)
            )
            await asyncio.sleep(0)
            waits = asyncio.create_task(
                app(scope_of(method, address="192.0.2.8", token=b"wx_1"), receive, None)
            )
            for _ in range(5):
                await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(first, waits)
            # the seat is free again
            await asyncio.wait_for(app(scope_of(method, address="192.0.2.7"), stays, None), 10)
            return "192.0.2.8" in entered

        return asyncio.run(run())

    @pytest.mark.parametrize(("method", "is_known"), [("POST", False), ("GET", False), ("GET", True)])
    def test_who_has_gone_leaves_the_queue(self, method, is_known):
        assert self.run_full(method, stays, is_known=is_known)
        assert not self.run_full(method, has_gone, is_known=is_known)

    def test_what_a_known_person_wrote_is_done_even_if_they_have_gone(self):
        assert self.run_full("POST", has_gone, is_known=True)


class TestLimited:
    """Who has reached a limit is refused at once until its time is up; nobody else is."""

    def statuses(self, *scopes, seconds=30):
        """What each of these is told, the first of which reaches a limit; and who came in."""
        entered, said = [], []

        async def door(scope, receive, send):
            entered.append(scope["client"][0])
            scope[IS_KNOWN] = False
            if len(entered) == 1:
                scope[LIMITED] = seconds

        async def send(message):
            if "status" in message:
                said.append((message["status"], dict(message["headers"])[b"retry-after"]))

        async def run():
            app = queued(door)
            for scope in scopes:
                await app(scope, stays, send)

        asyncio.run(run())
        return len(entered), said

    def test_the_same_token_is_told_how_long(self):
        same = scope_of("POST", token=b"wx_1")
        assert self.statuses(same, dict(same), dict(same)) == (1, [(429, b"30")] * 2)

    def test_the_same_address_without_a_token_is_told_how_long(self):
        assert self.statuses(scope_of("GET"), scope_of("POST")) == (1, [(429, b"30")])

    def test_other_tokens_addresses_and_the_pages_go_on(self):
        first = scope_of("GET", token=b"wx_1")
        others = [
            scope_of("GET", token=b"wx_2"),
            scope_of("GET"),
            scope_of("GET", token=b"wx_1", path="/machines/"),
        ]
        assert self.statuses(first, *others) == (4, [])
        assert self.statuses(scope_of("GET"), scope_of("GET", address="192.0.2.9"), others[0]) == (3, [])

    def test_none_is_kept_out_afterwards(self):
        same = scope_of("GET", token=b"wx_1")
        assert self.statuses(same, dict(same), seconds=0) == (2, [])


class TestSeats:
    def test_go_to_the_addresses_by_turns(self):
        async def run():
            seats, order = Seats(1), []
            assert seats.take_free()

            async def ask(address):
                await seats.wait(address)
                order.append(address)
                seats.give_back()

            crowd = [asyncio.create_task(ask("many")) for _ in range(100)]
            await asyncio.sleep(0)
            asking = [asyncio.create_task(ask(one)) for one in ("a", "b")]
            await asyncio.sleep(0)
            seats.give_back()
            await asyncio.gather(*asking, *crowd)
            return order

        assert asyncio.run(run())[:4] == ["many", "a", "b", "many"]

    def test_are_not_lost_with_those_who_are_cancelled(self):
        async def run():
            seats = Seats(1)
            assert seats.take_free()
            waiting = [asyncio.create_task(seats.wait("a")) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            seats.give_back()  # to the second, who is cancelled before it wakes
            await asyncio.sleep(0)
            waiting[1].cancel()
            await asyncio.gather(*waiting[:2], return_exceptions=True)
            if not waiting[1].cancelled():
                seats.give_back()
            await asyncio.wait_for(waiting[2], 10)
            seats.give_back()
            return seats.take_free(), seats.take_free()

        assert asyncio.run(run()) == (True, False)


class TestWhoAsks:
    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("no:address", "no:address"),
        ],
    )
    def test_an_address_is_that_or_its_network(self, address, network):
        assert network_of(address) == network

    def test_no_client_is_no_address(self):
        assert address_of({"client": None}) == ""

    def test_a_session_is_known_by_its_cookie_alone(self):
        one = credential_of(scope_of("GET", cookie=b"csrftoken=a; sessionid=s1"), "sessionid")
        assert one == credential_of(scope_of("GET", cookie=b"sessionid=s1; csrftoken=b"), "sessionid")
        assert one != credential_of(scope_of("GET", cookie=b"sessionid=s2"), "sessionid")
        assert credential_of(scope_of("GET", cookie=b"csrftoken=sessionid"), "sessionid") is None
