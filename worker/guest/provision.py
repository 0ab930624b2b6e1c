"""Creation of a machine: TEMPLATE, DISK, SEED, CONFIG, DOMAIN, KERNEL, INIT, LOGIN.

Every step checks what exists and then makes what is missing, so the whole may be run again from the start
after the worker was killed.
"""

import contextlib
import threading
from pathlib import Path

from worker import errors
from worker.contract import CreateMachine, DiskSpec, ImageSpec, Order, Power
from worker.guest import boot, domains, leases, machine_files
from worker.images import seed_files, seed_iso, store
from worker.job.context import JobContext


def create(work: JobContext[CreateMachine]) -> Power:
    """Create a machine and wait for its login prompt. Returns "RUNNING".

    Raises WorkerError; call `undo` then.
    """
    order = work.order
    _begin(work)
    _make_disks(work, order)
    path = boot.write_config(work)
    boot.start_domain(work, path)
    flushing = _flush_beside(work)
    if not boot.watch_login(work, until=work.deadline):
        if not domains.is_up(domains.find(work.dom0, work.machine.id)):
            raise errors.GuestDied("ENDED_WHILE_CREATED")
        raise errors.NoLoginPrompt("NO_PROMPT_WITHIN", limit_seconds=order.deadline_seconds)
    flushing.join(timeout=30.0)
    return "RUNNING"


def undo(work: JobContext[Order]) -> None:
    """Remove what this job made and nothing else. Idempotent. Raises WorkerError."""
    marks = work.entry.marks
    facts = machine_files.read_facts(work.dom0.settings, work.machine.id)
    if facts is not None and facts.job_id != work.order.job_id:
        return  # another job made it
    if "domain" in marks:
        domains.destroy(work.dom0, work.machine.id)
    made = tuple((disk.pool, disk.id) for disk in work.machine.disks if f"disk:{disk.id}" in marks)
    if "files" in marks:
        machine_files.remove(work.dom0, work.machine.id, made)


def _begin(work: JobContext[Order]) -> None:
    settings, machine = work.dom0.settings, work.machine
    if "files" not in work.entry.marks:
        pools = [(work.dom0.pools.find(disk.pool), disk) for disk in machine.disks]
        is_taken = any(pool.exists(machine.id, disk.id) for pool, disk in pools)
        if is_taken or machine_files.read_facts(settings, machine.id) is not None:
            raise errors.DiskTaken("DISK_HERE_ALREADY")
    elif "doubtful" in work.entry.marks:
        _begin_again(work)


def _begin_again(work: JobContext[Order]) -> None:
    """Remove what was made before dom0 went down: its content may not have reached the disk."""
    domains.destroy(work.dom0, work.machine.id)
    for disk in work.machine.disks:
        if f"disk:{disk.id}" in work.entry.marks:
            work.dom0.pools.find(disk.pool).remove(work.machine.id, disk.id)
    kept = {key: value for key, value in work.entry.marks.items() if key not in ("doubtful", "domain")}
    work.entry.marks = kept
    work.mark()


def _make_disks(work: JobContext[Order], order: CreateMachine) -> None:
    pools = {disk.id: work.dom0.pools.find(disk.pool) for disk in work.machine.disks}
    missing = [disk for disk in work.machine.disks if not pools[disk.id].exists(work.machine.id, disk.id)]
    is_root_missing = bool(missing) and missing[0] == work.machine.disks[0]
    with work.step("TEMPLATE"):
        template = _find_template(work) if is_root_missing else None
    with work.step("DISK"):
        if "files" not in work.entry.marks:
            work.mark(files="made", **{f"disk:{disk.id}": "made" for disk in missing})
        machine_files.write_facts(work.dom0.settings, work.machine, job_id=order.job_id)
        leases.take(work.dom0, work.machine, fence=order.fence)
        draft = _copy_root(work, template) if template is not None else None
        for disk in missing[1:] if is_root_missing else missing:
            pools[disk.id].begin_blank(work.machine.id, disk.id, size_mib=disk.size_mib)
            pools[disk.id].finish(work.machine.id, disk.id)
    with work.step("SEED"):
        if draft is not None:
            _seed_files(work, order, draft)
            pools[work.machine.disks[0].id].finish(work.machine.id, work.machine.disks[0].id)
        if order.machine.image.seed == "NOCLOUD":
            _write_iso(work, order)


def _find_template(work: JobContext[Order]) -> Path:
    settings, image = work.dom0.settings, work.machine.image
    path = store.check(
        settings.images_dir,
        image,
        on_progress=lambda part: work.say("TEMPLATE", part),
    )
    if image.format != "TARBALL":
        return path
    return store.filesystem_of(
        settings.images_dir,
        image,
        timeout_seconds=work.remaining("TEMPLATE"),
        on_progress=lambda part: work.say("TEMPLATE", part),
    )


def _copy_root(work: JobContext[Order], template: Path) -> Path:
    disk = work.machine.disks[0]
    draft = work.dom0.pools.find(disk.pool).begin_copy(
        work.machine.id,
        disk.id,
        template=template,
        size_mib=disk.size_mib,
        on_progress=lambda part: work.say("DISK", part),
    )
    if work.machine.image.format != "DISK":
        store.grow_filesystem(draft, template=template, timeout_seconds=work.remaining("DISK"))
    return draft


def _seed_files(work: JobContext[Order], order: CreateMachine, draft: Path) -> None:
    image = work.machine.image
    if image.seed != "FILES":
        return
    if image.format == "DISK":
        raise errors.SeedFailed("PARTITIONED_NEEDS_SEED")
    seed_files.write(
        draft,
        order.seed,
        work.machine,
        root_device=_root_device(image, work.machine.disks[0]),
        timeout_seconds=work.remaining("SEED", at_most=120.0),
    )


def _root_device(image: ImageSpec, disk: DiskSpec) -> str:
    # Only the fstab of a tarball is certainly wrong: it was written for a container or another machine.
    return f"/dev/{disk.vdev}" if image.format == "TARBALL" else ""


def _write_iso(work: JobContext[Order], order: CreateMachine) -> None:
    try:
        seed_iso.write(machine_files.seed_iso(work.dom0.settings, work.machine.id), order.seed, work.machine)
    except OSError as error:
        raise errors.DiskFull("HOST_DISK_FULL") from error


def _flush_beside(work: JobContext[Order]) -> threading.Thread:
    """Flush the disks in a thread while the guest boots, so that the owner does not wait for it."""

    def flush() -> None:
        with contextlib.suppress(errors.WorkerError):
            for disk in work.machine.disks:
                work.dom0.pools.find(disk.pool).flush(work.machine.id, disk.id)

    thread = threading.Thread(target=flush, name="flush", daemon=True)
    thread.start()
    return thread
