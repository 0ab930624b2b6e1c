"""MiB promised per pool: disks of machines that exist, are being created or are being migrated.

The sum is stored with the pool, so that placement and pages read one number per pool. It is increased when a
machine is placed and recomputed with every observation of the host, which also removes deleted disks.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from webxen.core.messages import Message
from webxen.inventory import space
from webxen.inventory.models import Host
from webxen.jobs import kinds
from webxen.jobs.placing import NoRoomError
from webxen.machines import figures
from webxen.machines.models import Disk, Machine


def count(*, hosts: Collection[Host], now: datetime) -> None:
    """Recompute what these hosts' pools have promised to machines; inside a transaction."""
    ids = [host.id for host in hosts]
    before = space.promised(host_ids=ids)
    if all(before[key] == size_mib for key, size_mib in _counted(ids, before).items()):
        return
    # wait until concurrent placements on these hosts have committed
    space.lock(host_ids=ids)
    space.set_promised(host_ids=ids, counted=_counted(ids, before), now=now)


def promise_copies(*, machine: Machine, target: Host, copied: Collection[str], now: datetime) -> None:
    """Promise the target's space to the disks that a migration copies. Raises NoRoomError."""
    sizes: Counter[str] = Counter()
    for disk in machine.disks.all():
        if str(disk.id) in copied:
            sizes[disk.pool] += disk.size_gib * 1024
    if sizes and (lacking := space.promise(host_id=target.id, sizes=sizes, now=now)):
        raise NoRoomError(Message("POOL_JUST_TAKEN", host=target, pool=lacking[0]))


def _counted(host_ids: Collection[UUID], pools: Collection[space.Key]) -> dict[space.Key, int]:
    """MiB by host id and pool name, for each of these pools."""
    disks = figures.disks_by_pool(host_ids=host_ids)
    copies = _copies(host_ids)
    return {key: disks.get(key, 0) + copies[key] for key in pools}


def _copies(host_ids: Collection[UUID]) -> Counter[space.Key]:
    """Disks being copied to a host, and those a source still keeps; neither belongs to a machine there."""
    rules = kinds.registered().values()
    places = [place for one in rules for place in one.disks_held(host_ids=host_ids)]
    disks = Disk.objects.in_bulk([disk for disk, _ in places]) if places else {}
    found: Counter[space.Key] = Counter()
    for disk_id, host_id in places:
        if (disk := disks.get(disk_id)) is not None:
            found[host_id, disk.pool] += disk.size_gib * 1024
    return found
