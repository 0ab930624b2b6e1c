"""`webxen-worker join URL [TOKEN]`, `rotate-key` and `refresh`: joining a portal and renewing keys.

The three commands and the files they write. Requests to the portal are made by `portal_client`; what is
signed is defined in `worker.contract.membership`. Running services read a new key by themselves and need no
restart.
"""

import argparse
import base64
import getpass
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker import settings
from worker.cli import pools, portal_client
from worker.cli.portal_client import PortalRefused
from worker.contract import PortalKeys, membership, read_host_name
from worker.errors import WorkerError
from worker.files import write_durably
from worker.identity import keys, portal_keys


class NotPossible(Exception):
    """The command cannot be run on this host as it is; the text says what to do."""


#: errors that the person at the keyboard can do something about; any other is a bug and shows its traceback
REFUSALS = (
    *(PortalRefused, NotPossible, keys.KeyUnusable, membership.NoKey),
    *(settings.SettingsError, WorkerError),
)


@dataclass(frozen=True)
class Files:
    """The files of this host's identity."""

    etc: Path

    @property
    def key(self) -> Path:
        return self.etc / "host.key"

    @property
    def next_key(self) -> Path:
        """A key that the portal has not accepted yet; a second attempt uses it again."""
        return self.etc / "host.key.next"

    @property
    def portal(self) -> Path:
        return self.etc / "portal.pub"

    @property
    def env(self) -> Path:
        return self.etc / "worker.env"

    @property
    def broker_url(self) -> Path:
        """Holds the host's password: systemd passes it to the listener and consoled only, as a credential."""
        return self.etc / "broker.url"

    @property
    def broker_ca(self) -> Path:
        return self.etc / "broker-ca.pem"


# --- the commands ------------------------------------------------------------------------------


def join(files: Files, words: argparse.Namespace) -> None:
    """Send this host's public key to the portal and store the answer.

    Raises PortalRefused, NotPossible, OSError.
    """
    url = portal_client.check_address(words.url, allow_plain=words.insecure_http)
    if files.key.exists() and not words.force:
        raise NotPossible(
            f"{files.key} is there already: this host has joined. For a new key say `rotate-key`; to join "
            "another portal, or again, say --force"
        )
    token = _token(words.token)
    files.etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    private = _next_key(files)
    public = keys.public_of(private).decode()
    proof = keys.signer(private)(membership.words_to_join(token=token, public_key=public))
    answer = portal_client.post(
        f"{url}/api/v1/hosts/join/",
        {"token": token, "public_key": public, "proof": _text(proof)},
        ca_file=words.ca_file,
    )
    name = _field(answer, "host", str)
    # the portal knows this key from here on
    files.next_key.replace(files.key)
    _keep_answer(files, answer)
    _write_env(files, {"WEBXEN_HOST": name, **_portal_address(url, words)})
    _say(f"{name} has joined {url}.")
    _say(f"Its key: {membership.fingerprint(public)}")
    _say("Ask staff to compare this fingerprint with the one on the portal's page of hosts and to accept it.")
    _say(f"Then start the services: their settings are in {files.env}.")


def rotate_key(files: Files, words: argparse.Namespace) -> None:
    """Give this host a new key. The portal accepts both keys until it has seen the new one in use."""
    env = _read_env(files)
    private = _next_key(files)
    public = keys.public_of(private).decode()
    name, at = _host(env), int(time.time())
    signed = membership.words_to_rotate(host=name, public_key=public, at=at)
    _ask(
        env,
        "rotate-key",
        {
            "host": name,
            "public_key": public,
            "at": at,
            "signature": _text(keys.read_signer(files.key)(signed)),
            "proof": _text(keys.signer(private)(signed)),
        },
    )
    files.next_key.replace(files.key)
    _say(f"{name} signs with a new key from now on: {membership.fingerprint(public)}")


def refresh(files: Files, words: argparse.Namespace) -> None:
    """Fetch the portal's current keys and, with --new-password, a new broker password."""
    env = _read_env(files)
    name, at, wants_password = _host(env), int(time.time()), bool(words.new_password)
    signed = membership.words_to_refresh(host=name, at=at, wants_password=wants_password)
    signature = _text(keys.read_signer(files.key)(signed))
    question = {"host": name, "at": at, "new_password": wants_password, "signature": signature}
    _keep_answer(files, _ask(env, "refresh", question))
    for one in portal_keys.trusted(files.portal):
        _say(f"trusted key of the portal: {one}")
    if wants_password:
        _say(f"{files.broker_url} has a new broker password; the old one counts for 24 hours more.")
        _say("Restart the three services one after the other.")


# --- files -------------------------------------------------------------------------------------


def _token(word: str) -> str:
    """The token. A prompt and standard input keep it out of the process list and the shell history.

    Raises NotPossible if it is empty.
    """
    if word not in ("", "-"):
        return word
    if not word and sys.stdin.isatty():
        token = getpass.getpass("Token from the portal's page: ")
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise NotPossible("no token was given: copy it from the portal's page that adds a host")
    return token.strip()


def _next_key(files: Files) -> bytes:
    if not files.next_key.exists():
        write_durably(files.next_key, keys.generate()[0])
    return files.next_key.read_bytes()


def _keep_answer(files: Files, answer: dict[str, Any]) -> None:
    told = answer.get("portal_keys")
    if not isinstance(told, list) or not all(isinstance(pem, str) for pem in told):
        raise PortalRefused("the answer names no key of the portal: is the address right?")
    word = PortalKeys(tuple(told), _field(answer, "serial", int))
    broker_url, broker_ca = _field(answer, "broker_url", str), _field(answer, "broker_ca", str)
    portal_keys.write(files.portal, word)
    changes = {}
    if broker_ca:
        # not secret, and the listener, which is not root, must read it
        write_durably(files.broker_ca, broker_ca.encode())
        files.broker_ca.chmod(0o644)
        changes["WEBXEN_BROKER_CA_FILE"] = str(files.broker_ca)
    if broker_url:
        write_durably(files.broker_url, broker_url.encode())
    if changes:
        _write_env(files, changes)


def _portal_address(url: str, words: argparse.Namespace) -> dict[str, str]:
    ca_file = {"WEBXEN_PORTAL_CA_FILE": str(words.ca_file.resolve())} if words.ca_file else {}
    return {"WEBXEN_PORTAL_URL": url, **ca_file}


def _read_env(files: Files) -> dict[str, str]:
    if not files.env.exists():
        raise NotPossible(f"{files.env} is not there: this host has not joined; say `join URL` first")
    return _parse_env(files.env)


def _parse_env(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, equals, value = line.partition("=")
        if equals and not name.lstrip().startswith("#"):
            found[name.strip()] = "".join(shlex.split(value))
    return found


def _write_env(files: Files, changes: dict[str, str]) -> None:
    """Change these settings and keep all others."""
    wanted = {
        "WEBXEN_HOST_KEY_FILE": str(files.key),
        "WEBXEN_PORTAL_KEY_FILE": str(files.portal),
        **_parse_env(files.env),
        **changes,
    }
    wanted.pop("WEBXEN_BROKER_URL", None)  # an older worker kept it here, where every service saw it
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(wanted.items()))
    write_durably(files.env, lines.encode())


# --- requests ----------------------------------------------------------------------------------


def _ask(env: dict[str, str], what: str, question: dict[str, Any]) -> dict[str, Any]:
    # the address was checked when the host joined, and only root has been able to change it since
    url, ca_file = _needed(env, "WEBXEN_PORTAL_URL"), env.get("WEBXEN_PORTAL_CA_FILE")
    return portal_client.post(
        f"{url}/api/v1/hosts/{what}/", question, ca_file=Path(ca_file) if ca_file else None
    )


def _host(env: dict[str, str]) -> str:
    try:
        return read_host_name(_needed(env, "WEBXEN_HOST"))
    except ValueError as error:
        raise NotPossible(f"WEBXEN_HOST in this host's settings is no host's name. {error}") from None


def _needed(env: dict[str, str], name: str) -> str:
    if not env.get(name):
        raise NotPossible(f"{name} is not set in worker.env")
    return env[name]


def _field(answer: dict[str, Any], name: str, kind: type) -> Any:
    if type(answer.get(name)) is not kind:
        raise PortalRefused(f"the answer has no {name}: is the address right?")
    return answer[name]


def _text(signature: bytes) -> str:
    return base64.b64encode(signature).decode()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="webxen-worker", description="This host's place in a portal.")
    etc = Path(os.environ.get("WEBXEN_ETC") or "/etc/webxen")
    parser.add_argument("--etc", type=Path, default=etc, help=f"where keys and settings are ({etc})")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    joining = commands.add_parser("join", help="join a portal with a token from its page of hosts")
    joining.set_defaults(run=join)
    joining.add_argument("url", help="https://portal.example.org")
    joining.add_argument(
        "token",
        nargs="?",
        default="",
        help="from the page that adds a host; without it, it is asked for; - reads it from standard input",
    )
    joining.add_argument("--ca-file", type=Path, help="the certificate the portal's own is signed by")
    joining.add_argument("--force", action="store_true", help="replace this host's key if there is one")
    joining.add_argument("--insecure-http", action="store_true", help="speak in the clear all the same")
    commands.add_parser("rotate-key", help="give this host a new key").set_defaults(run=rotate_key)
    asking = commands.add_parser("refresh", help="ask for the portal's keys of today")
    asking.set_defaults(run=refresh)
    asking.add_argument("--new-password", action="store_true", help="and for a new broker password")
    pools.add_commands(commands)
    return parser


def _in_settings(files: Files, words: argparse.Namespace) -> None:
    """Run a command about pools with the settings of the worker."""
    words.act(settings.read({**os.environ, **_read_env(files)}, needs_broker=False), words)


def main(argv: list[str] | None = None) -> int:
    words = _parser().parse_args(argv)
    os.umask(0o022)
    try:
        run = _in_settings if "act" in words else words.run
        run(Files(words.etc), words)
    except (*REFUSALS, ValueError, OSError) as error:
        sys.stderr.write(f"webxen-worker: {error}\n")
        return 1
    return 0
