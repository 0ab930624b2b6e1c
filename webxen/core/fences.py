"""Read the configuration file of fence agents: which agent powers off which host, with what parameters.

The agents are ClusterLabs' fence-agents: programs that read `key=value` lines on standard input. This module
does not run them.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from webxen.env import SettingError

AGENT = re.compile(r"fence_[a-z0-9_]{1,40}")
KEY = re.compile(r"[a-z][a-z0-9_-]{0,40}")
#: parameters whose value is never shown
SECRET = re.compile(r"pass|secret|token|key|community")
#: parameters set by the portal
OURS = ("action", "agent")
MOST_CHARACTERS = 1024
MOST_PARAMETERS = 40


@dataclass(frozen=True)
class Fence:
    """The fence agent of one host. `repr` hides the parameters, because they include a password."""

    agent: str
    parameters: tuple[tuple[str, str], ...] = field(repr=False)

    def lines(self, action: str) -> bytes:
        """Return the agent's standard input, one `key=value` line per parameter."""
        told = (*self.parameters, ("action", action))
        return "".join(f"{key}={value}\n" for key, value in told).encode()

    def hide_secrets(self, text: str) -> str:
        """Return `text` (an agent's output) with the values of secret parameters replaced by `***`."""
        secrets = {value for key, value in self.parameters if SECRET.search(key) and value}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def read(name: str, path: str) -> dict[str, Fence]:
    """Return the fence agents by host name; empty if `path` is empty. Raises SettingError.

    `name` is the setting that names the file, for the error message.
    """
    if not path:
        return {}
    try:
        told = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # the decoder's message gives the position, never the content, which may be a password
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
    """The value as the agent reads it (booleans as 1 or 0), or None if it is not allowed."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS or not value.isprintable():
        return None
    return value
