"""`webxen-worker join URL [TOKEN]`, `rotate-key`, `refresh`: how a host gets into a portal and stays there.

Lives here: the three commands, and the files they write. The portal is asked through `portal_http`, what
is signed is `membership`'s. The running services need no restart for a new key: they see the new file.
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
from worker.contract import PortalKeys, membership
from worker.errors import WorkerError
from worker.files import write_durably
from worker.identity import keys, portal_keys


class NotPossible(Exception):
    """The host is not in a state this can be done from; the text says what to do."""


#: what a person at the keyboard can do something about; anything else is a bug and shows where
REFUSALS = (
    *(PortalRefused, NotPossible, keys.KeyUnusable, membership.NoKey),
    *(settings.SettingsError, WorkerError),
)


@dataclass(frozen=True)
class Files:
    """Where a host keeps what it is."""

    etc: Path

    @property
    def key(self) -> Path:
        return self.etc / "host.key"

    @property
    def next_key(self) -> Path:
        """A key the portal has not taken yet; a second try goes on with it."""
        return self.etc / "host.key.next"

    @property
    def portal(self) -> Path:
        return self.etc / "portal.pub"

    @property
    def env(self) -> Path:
        return self.etc / "worker.env"

    @property
    def broker_url(self) -> Path:
        """It holds the host's password: systemd gives it to listener and consoled alone, as a credential."""
        return self.etc / "broker.url"

    @property
    def broker_ca(self) -> Path:
        return self.etc / "broker-ca.pem"


# --- the commands ------------------------------------------------------------------------------


def join(files: Files, words: argparse.Namespace) -> None:
    """Show this host's key to the portal and write down what it answers."""
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
    """Give this host a new key; the portal believes both until it has seen the new one at work."""
    env = _read_env(files)
    private = _next_key(files)
    public = keys.public_of(private).decode()
    name, at = _needed(env, "WEBXEN_HOST"), int(time.time())
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
    """Ask which keys of the portal count now and, if wished, for a new broker password."""
    env = _read_env(files)
    name, at, wants_password = _needed(env, "WEBXEN_HOST"), int(time.time()), bool(words.new_password)
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
    """The token; asked for or read from standard input, it is in no list of processes and no shell history.

    Raises NotPossible where there is none.
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
        # no secret, and the listener, which is not root, must read it
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
    """Change these settings; what else stands there stays."""
    wanted = {
        "WEBXEN_HOST_KEY_FILE": str(files.key),
        "WEBXEN_PORTAL_KEY_FILE": str(files.portal),
        **_parse_env(files.env),
        **changes,
    }
    wanted.pop("WEBXEN_BROKER_URL", None)  # an earlier worker kept it here, where every service saw it
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(wanted.items()))
    write_durably(files.env, lines.encode())


# --- asking ------------------------------------------------------------------------------------


def _ask(env: dict[str, str], what: str, question: dict[str, Any]) -> dict[str, Any]:
    # the address was looked at when the host joined, and is root's own file since
    url, ca_file = _needed(env, "WEBXEN_PORTAL_URL"), env.get("WEBXEN_PORTAL_CA_FILE")
    return portal_client.post(
        f"{url}/api/v1/hosts/{what}/", question, ca_file=Path(ca_file) if ca_file else None
    )


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
    """The commands about pools go by what the worker itself goes by."""
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
