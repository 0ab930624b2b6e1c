"""Participants of consoles and the input lock, shared by all web processes through Redis.

Each change is one Redis script, so that two processes never both believe to hold the lock. All keys expire:
participants of a killed process disappear within SEAT_SECONDS.
"""

import enum
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from worker.contract import console_in_key

SEAT_SECONDS = 30
RENEW_SECONDS = 10
MOST_PER_USER = 10
MOST_PER_MACHINE = 50
#: frames typed and not read by the host yet; beyond this the client must wait
MOST_UNTAKEN = 64

ENTER = """
local now = tonumber(redis.call('TIME')[1])
for i = 1, 2 do redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now) end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
for i = 1, 2 do
  redis.call('ZADD', KEYS[i], now + ARGV[2], ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return 1
"""
RENEW = """
local now = tonumber(redis.call('TIME')[1])
for i = 1, 2 do
  redis.call('ZADD', KEYS[i], now + ARGV[2], ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
if redis.call('GET', KEYS[3]) == ARGV[3] then redis.call('EXPIRE', KEYS[3], ARGV[2]) end
return 1
"""
TYPE = """
local pen = redis.call('GET', KEYS[1])
if pen and pen ~= ARGV[1] then return 0 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[4]) then return 3 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('XADD', KEYS[2], '*', 'd', ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return pen and 1 or 2
"""
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True)
class Participant:
    """One socket at one console."""

    id: str
    user_id: int
    username: str
    machine_id: str
    host: str
    #: the API token that requested the ticket
    token_id: UUID | None = None
    #: the browser session that requested the ticket
    session_key: str = ""
    #: the host the machine was on before its last migration, if any
    came_from: str = ""

    @property
    def pen_value(self) -> str:
        return json.dumps({"seat": self.id, "user": self.username})


@dataclass(frozen=True)
class Presence:
    """The participants of a console, as seen by one of them."""

    writer: str
    is_mine: bool
    viewers: int


class Typed(enum.IntEnum):
    """Result of sending keystrokes."""

    NOT_YOURS = 0
    SENT = 1
    #: sent, and the free input lock was acquired
    PICKED_UP = 2
    #: the host has not read the previous keystrokes: try again
    WAIT = 3


def news_channel(machine_id: str) -> str:
    """Redis channel that announces changes of the input lock and of the participants of a machine."""
    return f"webxen.console.{machine_id}.news"


class Participants:
    """The participants of all consoles."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._enter = redis.register_script(ENTER)
        self._renew = redis.register_script(RENEW)
        self._type = redis.register_script(TYPE)
        self._release = redis.register_script(RELEASE)

    async def enter(self, participant: Participant) -> bool:
        """Register a participant; acquire the input lock if it is free. Return False if there are too
        many.
        """
        keys = [self._user_key(participant), self._machine_key(participant)]
        if not await self._enter(keys, [participant.id, SEAT_SECONDS, MOST_PER_USER, MOST_PER_MACHINE]):
            return False
        await self._redis.set(self._pen_key(participant), participant.pen_value, ex=SEAT_SECONDS, nx=True)
        await self._tell(participant)
        return True

    async def renew(self, participant: Participant) -> None:
        keys = [self._user_key(participant), self._machine_key(participant), self._pen_key(participant)]
        await self._renew(keys, [participant.id, SEAT_SECONDS, participant.pen_value])

    async def leave(self, participant: Participant) -> None:
        await self._redis.zrem(self._user_key(participant), participant.id)
        await self._redis.zrem(self._machine_key(participant), participant.id)
        await self._release([self._pen_key(participant)], [participant.pen_value])
        await self._tell(participant)

    async def take(self, participant: Participant) -> None:
        await self._redis.set(self._pen_key(participant), participant.pen_value, ex=SEAT_SECONDS)
        await self._tell(participant)

    async def release(self, participant: Participant) -> None:
        if await self._release([self._pen_key(participant)], [participant.pen_value]):
            await self._tell(participant)

    async def type(self, participant: Participant, data: bytes) -> "Typed":
        """Send keystrokes if the participant holds the input lock or it is free."""
        keys = [self._pen_key(participant), console_in_key(participant.host, participant.machine_id)]
        answer = Typed(await self._type(keys, [participant.pen_value, SEAT_SECONDS, data, MOST_UNTAKEN]))
        if answer is Typed.PICKED_UP:
            await self._tell(participant)
        return answer

    async def company(self, participant: Participant) -> Presence:
        pipe = self._redis.pipeline(transaction=False)
        pipe.get(self._pen_key(participant))
        pipe.zcard(self._machine_key(participant))
        pen, viewers = await pipe.execute()
        holder: Any = json.loads(pen) if pen else {}
        return Presence(holder.get("user", ""), holder.get("seat") == participant.id, max(1, viewers))

    async def _tell(self, participant: Participant) -> None:
        await self._redis.publish(news_channel(participant.machine_id), b"")

    @staticmethod
    def _user_key(participant: Participant) -> str:
        return f"webxen.console.user.{participant.user_id}.participants"

    @staticmethod
    def _machine_key(participant: Participant) -> str:
        return f"webxen.console.{participant.machine_id}.participants"

    @staticmethod
    def _pen_key(participant: Participant) -> str:
        return f"webxen.console.{participant.machine_id}.pen"
