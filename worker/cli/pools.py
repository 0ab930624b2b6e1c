"""`webxen-worker share-pool`, `leases` and `release-lock`: commands for shared pools, run as
root on a dom0.
"""

import argparse
import sys
from typing import Any

from worker import storage
from worker.errors import PoolUnknown
from worker.settings import Settings
from worker.storage import lease
from worker.storage.lease_store import GroupLeases
from worker.storage.lvm import LvmPool
from worker.storage.shared_file import SharedFilePool


def add_commands(commands: Any) -> None:
    """Add the commands to the parser. `act(settings, words)` of each runs it."""
    sharing = commands.add_parser(
        "share-pool", help="make a pool one that several hosts see; once, on one host"
    )
    sharing.set_defaults(act=share_pool)
    listing = commands.add_parser("leases", help="show which host may open which machine's disks in a pool")
    listing.set_defaults(act=show_leases)
    freeing = commands.add_parser(
        "release-lock", help="let others change a pool which a dead host was changing"
    )
    freeing.set_defaults(act=free_turn)
    for made in (sharing, listing, freeing):
        made.add_argument("pool", help="its name in WEBXEN_LVM_POOLS or WEBXEN_FILE_POOLS")
    freeing.add_argument("host", help="the host that died")
    freeing.add_argument("words", help="the sentence: HOST is off")


def share_pool(settings: Settings, words: argparse.Namespace) -> None:
    """Make a pool a shared one. Raises PoolUnknown and other WorkerErrors, OSError."""
    pool = _pool(settings, words.pool)
    pool.share()
    seen = pool.probe()
    _say(
        f"The pool {seen.name} ({seen.kind}, {seen.id}) is shared:"
        f" {seen.free_mib} of {seen.total_mib} MiB free."
    )
    _say("Each host that sees it and offers it finds it so; restart their workers.")


def show_leases(settings: Settings, words: argparse.Namespace) -> None:
    """Print the leases of a pool. Raises PoolUnknown and other WorkerErrors, OSError."""
    book = _pool(settings, words.pool).leases
    if book is None:
        _say(f"The pool {words.pool} is not shared.")
        return
    for machine_id, known in sorted(book.all().items()):
        _say(f"{machine_id}  {lease.describe(known)}")


def free_turn(settings: Settings, words: argparse.Namespace) -> None:
    """Free the lock of a host that is off.

    Raises ValueError without the confirmation, PoolUnknown, OSError.
    """
    if words.words != f"{words.host} is off":
        raise ValueError(
            f'only a host that is off may be passed: look at it, then say "{words.host} is off". If it is'
            " not, two hosts write one volume group and it is lost"
        )
    book = _pool(settings, words.pool).leases
    had = isinstance(book, GroupLeases) and book.turns.forget(words.host)
    _say(f"{words.host} {'is passed' if had else 'did not wait or hold a turn'} in the pool {words.pool}.")


def _pool(settings: Settings, name: str) -> LvmPool | SharedFilePool:
    found = storage.find_shareable(settings, name)
    if found is None:
        raise PoolUnknown("POOL_NOT_CONFIGURED", pool=name)
    settings.make_directories()
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
