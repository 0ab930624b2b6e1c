"""Many writing requests at once: few are inside, all are answered, and reads pass by."""

import asyncio

from webxen.core.turnstile import with_turnstile


def crowd(method, *, writers, people):
    """So many requests at once; the most that were inside together, and how many were answered."""
    inside, most, answered = 0, 0, 0

    async def slow(scope, receive, send):
        nonlocal inside, most, answered
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        answered += 1

    async def run():
        app = with_turnstile(slow, writers=writers)
        await asyncio.gather(*(app({"type": "http", "method": method}, None, None) for _ in range(people)))

    asyncio.run(run())
    return most, answered


class TestTurnstile:
    def test_lets_few_writers_in_and_answers_all(self):
        assert crowd("POST", writers=3, people=50) == (3, 50)

    def test_lets_reads_pass(self):
        assert crowd("GET", writers=3, people=50) == (50, 50)

    def test_is_open_again_after_an_error(self):
        async def broken(scope, receive, send):
            raise ValueError

        async def run():
            app = with_turnstile(broken, writers=1)
            scope = {"type": "http", "method": "POST"}
            return await asyncio.gather(*(app(scope, None, None) for _ in range(3)), return_exceptions=True)

        assert [type(error) for error in asyncio.run(run())] == [ValueError] * 3
