"""Keys between the portal and its hosts: verify hosts' signatures, distribute the portal's keys.

Connects core.portal_key with enrolment.joining. A rotation never locks a host out: each host gets orders
signed with the newest key that it reports to trust.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from webxen.core import keys, portal_key
from webxen.enrolment import broker_accounts, joining
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host
from webxen.jobs import dispatch, rounds
from worker import contract
from worker.contract import membership

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Welcome:
    """What a host needs after enrolment or a refresh."""

    host: str
    portal_keys: tuple[str, ...]
    serial: int
    broker_url: str
    broker_ca: str
    queue: str


def is_from_host(*, name: str, signed: bytes, signature: bytes, now: datetime) -> bool:
    """Whether the signature is the host's. The first valid one with its next key makes that key current."""
    found = [
        key for key in joining.believed_keys(name=name, now=now) if keys.is_signed_by(key, signed, signature)
    ]
    host = inventory.host_named(name=name) if found else None
    if host is None:
        return False
    joining.note_key_used(host=host, is_signed_with=lambda key: key == found[0], now=now)
    return True


# --- what hosts ask for ------------------------------------------------------------------------


def join(*, untrusted_token: str, untrusted_key: str, untrusted_proof: bytes, now: datetime) -> Welcome:
    """Enrol a host, see joining.join."""
    joined = joining.join(
        untrusted_token=untrusted_token,
        untrusted_key=untrusted_key,
        untrusted_proof=untrusted_proof,
        now=now,
    )
    return _welcome(joined.host, joined.broker_url, now)


def refresh(
    *, name: str, at: int, wants_password: bool, untrusted_signature: bytes, now: datetime
) -> Welcome:
    """Answer a host's refresh request, see joining.refresh."""
    host, broker_url = joining.refresh(
        name=name, at=at, wants_password=wants_password, untrusted_signature=untrusted_signature, now=now
    )
    return _welcome(host, broker_url, now)


def _welcome(host: Host, broker_url: str, now: datetime) -> Welcome:
    ca_file = settings.WEBXEN_BROKER_CA_FILE
    return Welcome(
        host=host.name,
        portal_keys=portal_key.public_pems(settings.WEBXEN_PORTAL_KEY_FILE),
        serial=int(now.timestamp()),
        broker_url=broker_url,
        broker_ca=Path(ca_file).read_text() if ca_file else "",
        queue=contract.queue_for(host.name),
    )


# --- a rotation of the portal's key --------------------------------------------------------------


def tend(*, now: datetime) -> None:
    """Periodic task: update the broker's accounts and send the portal's keys to hosts that lack them."""
    rounds.once("broker accounts", lambda: _ensure_accounts(now), now=now)
    rounds.once("portal keys", lambda: _spread_keys(now), now=now)


def _ensure_accounts(now: datetime) -> int:
    broker_accounts.ensure_all(now=now)
    return 0


def _spread_keys(now: datetime) -> int:
    """Send the portal's keys to the hosts that lack them; return how many were sent to."""
    path = settings.WEBXEN_PORTAL_KEY_FILE
    wanted = [membership.fingerprint(pem) for pem in portal_key.public_pems(path)]
    hosts = inventory.accepted_hosts()
    if len(wanted) > 1 and not hosts_without(hosts, wanted[0]):
        # no host needs the previous key any more
        portal_key.forget_old(path)
        wanted = wanted[:1]
    # a host that never reported trusted keys has an older worker that does not understand the message
    due = [host for host in hosts if host.portal_keys and sorted(host.portal_keys) != sorted(wanted)]
    return rounds.each("tell keys", due, lambda host: _tell_keys(host, now), now=now)


def hosts_without(hosts: list[Host], fingerprint: str) -> list[str]:
    """Names of the hosts that have not reported to trust this key."""
    return [host.name for host in hosts if fingerprint not in host.portal_keys]


def _tell_keys(host: Host, now: datetime) -> bool:
    """Send the keys, signed with one the host already trusts; return False if the broker is away."""
    path = settings.WEBXEN_PORTAL_KEY_FILE
    envelope = contract.seal(
        contract.PortalKeys(keys=portal_key.public_pems(path), serial=int(now.timestamp())),
        host=host.name,
        sign=portal_key.signer_for(path, trusted=host.portal_keys),
        not_after=int(now.timestamp()) + settings.WEBXEN_ORDER_TTL_SECONDS,
    )
    try:
        dispatch.ring(host=host.name, job_id=uuid.uuid4(), envelope=envelope, slot="portal-keys")
    except (OperationalError, RedisError, OSError) as error:
        log.warning("%s was not told of the portal's keys: %s", host.name, error)
        return False
    return True
