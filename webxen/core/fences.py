"""The file of fences: which agent switches a host off, and what it must be told. No agent runs here.

The agents are ClusterLabs' fence-agents: programs that read `key=value` lines on their standard input.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from webxen.env import SettingError

AGENT = re.compile(r"fence_[a-z0-9_]{1,40}")
KEY = re.compile(r"[a-z][a-z0-9_-]{0,40}")
#: parameters whose value is shown nowhere
SECRET = re.compile(r"pass|secret|token|key|community")
#: what the portal says itself
OURS = ("action", "agent")
MOST_CHARACTERS = 1024
MOST_PARAMETERS = 40


@dataclass(frozen=True)
class Fence:
    """How one host is switched off. Its parameters hold a password, so it does not show them."""

    agent: str
    parameters: tuple[tuple[str, str], ...] = field(repr=False)

    def lines(self, action: str) -> bytes:
        """What the agent reads."""
        told = (*self.parameters, ("action", action))
        return "".join(f"{key}={value}\n" for key, value in told).encode()

    def hide_secrets(self, text: str) -> str:
        """What an agent said, without what it was told in confidence."""
        secrets = {value for key, value in self.parameters if SECRET.search(key) and value}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def read(name: str, path: str) -> dict[str, Fence]:
    """The fences by their host; `name` is the setting that names the file. No file: no fence."""
    if not path:
        return {}
    try:
        told = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # a decoder's sentence says where, never what stands there
        raise SettingError(f"{name} cannot be read: {path}: {error}") from None
    return {host: _read_one(name, host, table) for host, table in told.items()}


def _read_one(name: str, host: str, table: object) -> Fence:
    def refuse(why: str) -> SettingError:
        return SettingError(f"{name}: [{host}] {why}")

    if not isinstance(table, dict):
        raise refuse('must be a table: [host], then agent = "fence_…" and what the agent needs')
    agent = table.get("agent")
    if not isinstance(agent, str) or not AGENT.fullmatch(agent):
        raise refuse('needs agent = "fence_…", the name of a program and not its path')
    if len(table) > MOST_PARAMETERS:
        raise refuse(f"has more than {MOST_PARAMETERS} parameters")
    parameters = []
    for key, value in table.items():
        if key in OURS:
            if key != "agent":
                raise refuse(f"must not say {key}: the portal does")
            continue
        if not KEY.fullmatch(key):
            raise refuse(f"{key!r} is no parameter's name")
        text = _plain(value)
        if text is None:
            raise refuse(f"{key} must be one line of text, a whole number or true or false")
        parameters.append((key, text))
    return Fence(agent, tuple(parameters))


def _plain(value: object) -> str | None:
    """As the agent reads it: a switch is 1 or 0."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS or not value.isprintable():
        return None
    return value
