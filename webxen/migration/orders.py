"""The three orders of a migration. Pure."""

from collections.abc import Sequence
from typing import cast

from webxen.jobs.orders import machine_spec
from webxen.machines.models import Disk, Interface, Machine
from webxen.migration.models import Move, MoveSide
from worker import contract


def receive_order(
    move: Move, machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.ReceiveMachine:
    """Return the order for the target."""
    return contract.ReceiveMachine(
        job_id=str(move.job_id),
        fence=move.job.fence,
        machine=machine_spec(machine, disks, interfaces),
        source=move.source.name,
        certificate=move.source.relay_certificate,
        source_address=move.source.relay_address,
        method=cast("contract.MoveMethod", move.method),
        deadline_seconds=move.deadline_seconds,
        copied=tuple(move.copied),
        restarts=move.restarts,
    )


def migrate_order(
    move: Move, port: int, machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.MigrateMachine:
    """Return the order for the source, once the target listens at `port`."""
    return contract.MigrateMachine(
        job_id=str(move.job_id),
        fence=move.job.fence,
        machine=machine_spec(machine, disks, interfaces),
        target=move.target.name,
        address=move.target.relay_address,
        port=port,
        certificate=move.target.relay_certificate,
        method=cast("contract.MoveMethod", move.method),
        rate_mib_s=move.rate_mib_s,
        deadline_seconds=move.deadline_seconds,
        copied=tuple(move.copied),
        restarts=move.restarts,
    )


def settle_order(
    side: MoveSide, machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.SettleMove:
    """Return the order that tells a side the outcome, or tells the source to delete the copied disks."""
    is_discarding = side.side == MoveSide.Side.SOURCE and side.move.discard_asked_at is not None
    return contract.SettleMove(
        job_id=str(side.cleaning_job),
        fence=side.move.job.fence,
        machine=machine_spec(machine, disks, interfaces),
        deadline_seconds=contract.VERBS[contract.SettleMove.kind].deadline_seconds,
        move_job_id=str(side.move_id),
        side=cast("contract.MoveSide", side.side),
        verdict=cast("contract.MoveVerdict", side.move.verdict),
        discards=tuple(side.move.copied) if is_discarding else (),
    )
