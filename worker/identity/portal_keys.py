"""The file with the portal's keys that this host trusts, and how it is replaced.

The caller has verified the message that replaces the keys with a key that the host trusted until then.
"""

import logging
import re
from pathlib import Path

from worker.contract import PortalKeys, membership
from worker.files import write_durably

logger = logging.getLogger(__name__)

_SERIAL = re.compile(r"^# serial (\d{1,18})$", re.MULTILINE)


def text_of(path: Path) -> str:
    """The keys in the file as PEM; "" if it cannot be read."""
    try:
        return "".join(membership.split_pems(path.read_text()))
    except (OSError, ValueError):
        return ""


def trusted(path: Path) -> tuple[str, ...]:
    """Fingerprints of the keys in the file; () if it cannot be read."""
    try:
        return tuple(membership.fingerprint(pem) for pem in membership.split_pems(path.read_text()))
    except (OSError, ValueError, membership.NoKey) as error:
        logger.warning("the portal's keys in %s cannot be read: %s", path, error)
        return ()


def serial_of(path: Path) -> int:
    """The serial number of the file; 0 for a file that was put there by hand."""
    try:
        found = _SERIAL.search(path.read_text())
    except (OSError, ValueError):
        return 0
    return int(found[1]) if found else 0


def keep(path: Path, word: PortalKeys) -> bool:
    """Replace the trusted keys. Returns False if the message is not newer than the file, or on errors."""
    if word.serial <= serial_of(path):
        logger.warning("dropped a word on the portal's keys that is not newer than what is known")
        return False
    try:
        write(path, word)
    except (ValueError, membership.NoKey) as error:
        logger.error("dropped a word on the portal's keys: %s", error)
        return False
    except OSError as error:
        logger.error("%s cannot be replaced (%s): let the worker write to its folder", path, error)
        return False
    logger.info("the portal's keys are now %s", ", ".join(trusted(path)))
    return True


def write(path: Path, word: PortalKeys) -> None:
    """Write the file. Raises NoKey or ValueError for a message without a usable key, and OSError."""
    pems = [pem for text in word.keys for pem in membership.split_pems(text)]
    if not pems:
        raise ValueError("it names no key")
    names = [membership.fingerprint(pem) for pem in pems]
    lines = "".join(f"# {name}\n" for name in names)
    write_durably(path, f"# serial {word.serial}\n{lines}{''.join(pems)}".encode())
