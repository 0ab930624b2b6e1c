"""Validates an order's fields before any of them becomes a path, a line of a file or an argument.

Patterns and the pure function `check_order`. The signature was verified before; this second check keeps a bug
in the portal from writing outside the worker's directories.
"""

import ipaddress
import re

from worker.contract import (
    MAX_RECEIPT,
    UUID,
    CreateMachine,
    ImageSpec,
    MachineSpec,
    MigrateMachine,
    NicSpec,
    Order,
    ReceiveMachine,
    SeedSpec,
    SettleMove,
)
from worker.errors import OrderRefused

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
DISK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
# a lone surrogate cannot be encoded
SSH_KEY = re.compile(r"[\x20-\x7e\u00a0-\ud7ff\ue000-\uffff]{1,16384}")
MAX_USER_DATA_BYTES = 16 << 10
PASSWORD_HASH = re.compile(r"\$[0-9a-z]{1,4}\$[A-Za-z0-9./$=,_-]{1,200}")
POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,126}")
VDEV = re.compile(r"(xvd|hd|sd)[a-z][0-9]{0,2}")
CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,8192}-----END CERTIFICATE-----\n?", re.ASCII
)
#: base64; its content is not read here
RECEIPT = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
CPU_HIDDEN = re.compile(r"([0-9a-f]{8}(:[0-9a-f]{8}){7})?")
MAX_DISK_MIB = 64 << 20
MAX_DEADLINE_SECONDS = 3600
#: copying disks takes longer than copying memory
MAX_COLD_SECONDS = 48 * 3600


def check_order(order: Order) -> MachineSpec:
    """The machine the order is about. Raises OrderRefused naming the invalid field."""
    machine = order.machine
    _need(UUID, order.job_id, "job_id")
    _need(UUID, machine.id, "machine.id")
    _need(CPU_HIDDEN, machine.cpu_hidden, "machine.cpu_hidden")
    _need(RECEIPT, machine.receipt[: MAX_RECEIPT + 1], "machine.receipt")
    if len(machine.receipt) > MAX_RECEIPT:
        raise _refused("machine.receipt")
    is_cold = isinstance(order, ReceiveMachine | MigrateMachine) and order.method == "COLD"
    if not 0 < order.deadline_seconds <= (MAX_COLD_SECONDS if is_cold else MAX_DEADLINE_SECONDS):
        raise _refused("deadline_seconds")
    _check_disks(machine)
    _check_image(machine.image)
    for nic in machine.nics:
        _check_nic(nic)
    if isinstance(order, CreateMachine):
        _check_seed(order.seed)
    if isinstance(order, ReceiveMachine | MigrateMachine):
        _check_move(order)
    if isinstance(order, SettleMove):
        _need(UUID, order.move_job_id, "move_job_id")
        _check_named(machine, order.discards, "discards")
        if order.discards and (order.side, order.verdict) != ("SOURCE", "MOVED"):
            raise _refused("discards")
    return machine


def _check_named(machine: MachineSpec, named: tuple[str, ...], field: str) -> None:
    """Check that `named` are ids of this machine's disks, each at most once."""
    if len(set(named)) != len(named) or not set(named) <= {disk.id for disk in machine.disks}:
        raise _refused(field)


def _check_move(order: ReceiveMachine | MigrateMachine) -> None:
    _need(CERTIFICATE, order.certificate, "certificate")
    _check_named(order.machine, order.copied, "copied")
    if order.method != "COLD" and (order.copied or order.restarts):
        raise _refused("copied")
    if isinstance(order, ReceiveMachine) and order.source_address:
        _need_address(order.source_address, "source_address")
    if isinstance(order, MigrateMachine):
        _need_address(order.address, "address")
        if not 0 < order.port < 65536:
            raise _refused("port")
        if not 0 <= order.rate_mib_s <= 100_000:
            raise _refused("rate_mib_s")


def _need_address(value: str, field: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise _refused(field) from None


def _check_disks(machine: MachineSpec) -> None:
    if not machine.disks:
        raise _refused("machine.disks")
    for disk in machine.disks:
        _need(DISK_ID, disk.id, "disk.id")
        _need(POOL, disk.pool, "disk.pool")
        _need(VDEV, disk.vdev, "disk.vdev")
        if not 0 < disk.size_mib <= MAX_DISK_MIB:
            raise _refused("disk.size_mib")
    if len({disk.id for disk in machine.disks}) != len(machine.disks):
        raise _refused("machine.disks")


def _check_image(image: ImageSpec) -> None:
    _need(FILE_NAME, image.file, "image.file")
    _need(SHA256, image.sha256, "image.sha256")
    for name in filter(None, (image.kernel, image.ramdisk)):
        _need(FILE_NAME, name, "image.kernel")


def _check_nic(nic: NicSpec) -> None:
    if not 0 <= nic.prefix <= 32:
        raise _refused("nic.prefix")
    for address in filter(None, (nic.ipv4, nic.gateway, nic.nameserver)):
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise _refused("nic address") from None


def _check_seed(seed: SeedSpec) -> None:
    _need(HOSTNAME, seed.hostname, "seed.hostname")
    for key in seed.ssh_keys:
        _need(SSH_KEY, key, "seed.ssh_keys")
    if seed.password_hash:
        _need(PASSWORD_HASH, seed.password_hash, "seed.password_hash")
    try:
        user_data = seed.user_data.encode()
    except UnicodeEncodeError:
        raise _refused("seed.user_data") from None
    if b"\0" in user_data or len(user_data) > MAX_USER_DATA_BYTES:
        raise _refused("seed.user_data")


def _need(pattern: re.Pattern[str], value: str, field: str) -> None:
    if not pattern.fullmatch(value):
        raise _refused(field)


def _refused(field: str) -> OrderRefused:
    return OrderRefused("FIELD_REFUSED", field=field)
