"""Typed readers of environment variables. Only this module reads os.environ.

A secret may be given as X or in the file named by X_FILE.
"""

import ipaddress
import os
from pathlib import Path


class SettingError(Exception):
    """A setting is missing or not valid; the message names it and the fix."""


def text(name: str, default: str) -> str:
    return os.environ.get(name, default)


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def networks(name: str) -> list[str]:
    """Return a comma-separated list of addresses and networks, each as a network. Raises SettingError."""
    try:
        return [str(ipaddress.ip_network(word)) for word in words(name)]
    except ValueError as error:
        raise SettingError(f"{name}: {error}: use addresses and networks, as 10.0.0.5,fd00::/8") from None


def flag(name: str, *, default: bool = False) -> bool:
    """Return a boolean: 1, true, yes, on or 0, false, no, off. Raises SettingError."""
    value = os.environ.get(name)
    if value is None or value == "":
        return default
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise SettingError(f"{name} is {value!r}: use true or false")


def number(name: str, default: int) -> int:
    """Return an integer. Raises SettingError."""
    value = os.environ.get(name, "")
    try:
        return int(value) if value else default
    except ValueError:
        raise SettingError(f"{name} is {value!r}: use a whole number") from None


def number_from(name: str, default: int, *, least: int) -> int:
    """Return an integer of at least `least`. Raises SettingError."""
    value = number(name, default)
    if value < least:
        raise SettingError(f"{name} is {value}: use a whole number from {least} on")
    return value


def ratio(name: str, default: float) -> float:
    """Return a number above 0 and below 1000. Raises SettingError."""
    given = os.environ.get(name) or str(default)
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:  # also refuses nan
        raise SettingError(f"{name} is {given!r}: use a number above 0 and below 1000, like 1.5")
    return value


def percentage(name: str, default: int) -> int:
    """Return an integer from 1 to 100. Raises SettingError."""
    value = number(name, default)
    if not 1 <= value <= 100:
        raise SettingError(f"{name} is {value}: use a whole number from 1 to 100")
    return value


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed values. Raises SettingError."""
    value = os.environ.get(name) or default
    if value not in allowed:
        raise SettingError(f"{name} is {value!r}: use {' or '.join(allowed)}")
    return value


def secret(name: str, default: str = "") -> str:
    """Return the variable `name`, or the content of the file in `name`_FILE. Raises SettingError."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise SettingError(f"{name}_FILE cannot be read: {error}") from None
    value = os.environ.get(name, default)
    if not value:
        raise SettingError(f"{name} is not set: set it, or {name}_FILE to a file that holds it")
    return value


def path(name: str, default: Path) -> Path:
    return Path(os.environ.get(name) or default).resolve()
