"""The clients of `tests.bench.anonymous_attacks`: `python -m tests.bench.attack_clients KIND PORT JOB TOKEN`.

Each kind runs until the process is ended. All connect from 127.0.0.2; the benchmark's users connect from
127.0.0.1. Closed connections are reopened, and no client sends more often than PACE_SECONDS.
"""

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable

ADDRESS = "127.0.0.2"
PACE_SECONDS = 0.2


class Target:
    def __init__(self, port: str, job: str, token: str) -> None:
        self.port, self.job, self.token = int(port), job, token

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESS, 0))

    def head(self, method: str, path: str, more: str = "") -> bytes:
        host = f"Host: 127.0.0.1:{self.port}\r\n"
        return f"{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{more}\r\n".encode()

    async def ask(self, method: str, path: str, more: str = "", body: bytes = b"") -> bytes:
        """Send one request on a connection of its own; return the whole answer."""
        reader, writer = await self.connect()
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        try:
            writer.write(self.head(method, path, more + length) + body)
            return await reader.read()
        finally:
            writer.close()


Client = Callable[[Target], Awaitable[object]]


async def slow_body(target: Target) -> None:
    reader, writer = await target.connect()
    ended = asyncio.create_task(reader.read())
    writer.write(target.head("POST", "/nowhere/", "Content-Length: 100000\r\n"))
    while not ended.done():
        writer.write(b"x")
        await asyncio.wait({ended}, timeout=1)
    writer.close()


async def huge_body(target: Target) -> None:
    reader, writer = await target.connect()
    ended = asyncio.create_task(reader.read())
    writer.write(target.head("POST", "/accounts/login/", f"Content-Length: {600 << 20}\r\n"))
    for _ in range(600):
        writer.write(b"x" * (1 << 20))
        await writer.drain()
        if ended.done():
            break
    writer.close()


async def huge_chunks(target: Target) -> None:
    reader, writer = await target.connect()
    ended = asyncio.create_task(reader.read())
    writer.write(target.head("GET", "/accounts/login/", "Transfer-Encoding: chunked\r\n"))
    for _ in range(9600):
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()
        if ended.done():
            break
    writer.close()


KEYS = b"{" + b",".join(b'"%d":0' % n for n in range(25_000)) + b',"24999":1}'


async def many_keys(target: Target) -> None:
    await target.ask("POST", "/api/v1/hosts/join/", "Content-Type: application/json\r\n", KEYS)


async def held_wait(target: Target) -> None:
    await target.ask(
        "GET", f"/api/v1/jobs/{target.job}/?wait=60", f"Authorization: Bearer {target.token}\r\n"
    )


async def schema(target: Target) -> None:
    await target.ask("GET", "/api/v1/schema/")


async def idle(target: Target) -> None:
    reader, writer = await target.connect()
    try:
        await reader.read()
    finally:
        writer.close()
        await asyncio.sleep(5 * PACE_SECONDS)


async def wrong_password(target: Target) -> None:
    page = (await target.ask("GET", "/accounts/login/")).decode(errors="replace")
    cookies = re.findall(r"set-cookie: (csrftoken=\w+)", page)
    tokens = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    if cookies and tokens:
        form = f"csrfmiddlewaretoken={tokens[0]}&login=person1&password=wrong".encode()
        kind = "Content-Type: application/x-www-form-urlencoded\r\n"
        await target.ask("POST", "/accounts/login/", f"{kind}Cookie: {cookies[0]}\r\n", form)


async def wrong_token(target: Target) -> None:
    await target.ask("GET", "/api/v1/machines/", "Authorization: Bearer wx_wrong\r\n")


async def half_a_head(target: Target) -> None:
    reader, writer = await target.connect()
    ended = asyncio.create_task(reader.read())
    writer.write(b"GET / HTTP/1.1\r\n")
    while not ended.done():
        writer.write(b"X-A: b\r\n")
        await asyncio.wait({ended}, timeout=1)
    writer.close()


#: kind → (client, number of concurrent clients)
KINDS: dict[str, tuple[Client, int]] = {
    "slow bodies": (slow_body, 200),
    "huge bodies": (huge_body, 8),
    "huge chunked bodies of GET": (huge_chunks, 8),
    "JSON of 25,000 keys": (many_keys, 10),
    "held waits of one token": (held_wait, 130),
    "OpenAPI document": (schema, 16),
    "silent connections": (idle, 2000),
    "endless heads": (half_a_head, 500),
    "wrong passwords": (wrong_password, 10),
    "wrong tokens": (wrong_token, 10),
}


async def go_on(client: Client, target: Target) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await client(target)
        await asyncio.sleep(PACE_SECONDS)


async def main(kind: str, port: str, job: str, token: str) -> None:
    client, count = KINDS[kind]
    await asyncio.gather(*(go_on(client, Target(port, job, token)) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
