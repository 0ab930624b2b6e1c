"""Submit, change and withdraw requests for machines and quota, and decide on them. `status` writes their
status.
"""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from webxen.accounts import operations as accounts
from webxen.accounts import queries as people
from webxen.accounts.models import User
from webxen.approvals import policy, queries, quota_increase, status
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.approvals.policy import Verdict
from webxen.approvals.quota_increase import MoreWish
from webxen.approvals.requested_spec import Wish
from webxen.approvals.status import Event
from webxen.core import audit, events
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError, UserError
from webxen.core.messages import Message
from webxen.inventory.operations import NoAddressError
from webxen.inventory.restores import RestoredError
from webxen.jobs import operations as jobs
from webxen.machines.naming import NameTakenError, taken
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures, count_shortage

MAX_REASON = 2000


class RequestDecidedError(UserError):
    """The request has already been decided."""

    code = "REQUEST_ALREADY_DECIDED"


class NoQuotaError(UserError):
    """The project may have no machines, so that an approval could not help."""

    code = "NO_QUOTA"


class TooManyPendingError(UserError):
    """The user has reached the maximum number of pending requests."""

    code = "TOO_MANY_PENDING"


def submit(*, user: User, wish: Wish, now: datetime) -> MachineRequest:
    """Submit a request for a machine; within quota and policy it is approved in the same call.

    Raises NotFoundError, NoQuotaError, QuotaExceededError, TooManyPendingError, NameTakenError. A refusal
    here opens no transaction, which on SQLite would wait for the write lock. The quota may change after this
    check; its conditional UPDATE is decisive.
    """
    need = Figures(1, wish.vcpus, wish.memory_mib, wish.disk_gib)
    headroom = quota_queries.headroom_for(user=user, project=wish.project)
    decision = policy.decide(figures=need, is_listed_size=wish.size is not None, headroom=headroom)
    if decision.verdict == Verdict.REFUSE:
        raise NoQuotaError(decision.why)
    if decision.is_over_quota and not wish.may_wait_for_quota:
        shortage = count_shortage(headroom, need)
        raise QuotaExceededError(decision.why, members={"shortage": shortage})
    return _submit(user, wish, decision, now)


@transaction.atomic
def _submit(user: User, wish: Wish, decision: policy.Decision, now: datetime) -> MachineRequest:
    if decision.verdict != Verdict.AUTO:
        _check_pending(user)
    request = _write_down(user, wish, decision.why, now)
    if wish.ssh_keys:
        accounts.remember_ssh_keys(user=user, ssh_keys=wish.ssh_keys, now=now)
    if decision.verdict == Verdict.AUTO:
        _approve_at_once(request, wish, now)
    _tell(request)
    return queries.get_visible(user=user, id=request.id)


def _check_pending(user: User) -> None:
    """Count under a lock on the user, so that concurrent requests cannot exceed the limit."""
    User.objects.select_for_update().get(id=user.id)
    most = settings.WEBXEN_PENDING_REQUESTS
    pending = MachineRequest.objects.filter(requester=user, status=MachineRequest.Status.PENDING).count()
    if pending >= most:
        raise TooManyPendingError(Message("TOO_MANY_PENDING", n=pending, limit=most))


def _write_down(user: User, wish: Wish, why: str, now: datetime) -> MachineRequest:
    try:
        with transaction.atomic():
            request = _create(user, wish, why, now)
    except IntegrityError:
        raise NameTakenError(taken(name=wish.name, project=wish.project.name, is_requested=True)) from None
    _record(request, user, "REQUEST_MACHINE", why, now)
    return request


def _create(user: User, wish: Wish, why: str, now: datetime) -> MachineRequest:
    return MachineRequest.objects.create(
        requester=user,
        project=wish.project,
        name=wish.name,
        image=wish.image,
        size=wish.size,
        network=wish.network,
        vcpus=wish.vcpus,
        memory_mib=wish.memory_mib,
        disk_gib=wish.disk_gib,
        seed={
            "ssh_keys": list(wish.ssh_keys),
            "password_hash": wish.password_hash,
            "user_data": wish.user_data,
        },
        reason=wish.reason,
        why_pending=why,
        created_at=now,
    )


def _approve_at_once(request: MachineRequest, wish: Wish, now: datetime) -> None:
    try:
        with transaction.atomic():
            _grant(request, None, None, now)
    except (QuotaExceededError, NoAddressError, RestoredError) as why:
        if isinstance(why, QuotaExceededError) and not wish.may_wait_for_quota:
            raise
        # Another request took the quota or address after the check: staff decides on this one.
        MachineRequest.objects.filter(id=request.id).update(why_pending=why.message)


@transaction.atomic
def approve(
    *,
    staff: User,
    request_id: UUID,
    host_name: str | None = None,
    raise_quota: bool = False,
    now: datetime,
) -> MachineRequest:
    """Approve a request and order the machine, in one transaction.

    `raise_quota` raises the project's limits as far as needed, for a request of someone else. Raises
    NotFoundError, ForbiddenError, RequestDecidedError, InvalidError, QuotaExceededError, NoRoomError,
    NameTakenError, NoAddressError, RestoredError.
    """
    request = _find_for_staff(staff, request_id)
    if raise_quota and request.requester_id == staff.id:
        raise ForbiddenError(Message("RAISE_NEEDS_ANOTHER"))
    if raise_quota:
        need = Figures(1, request.vcpus, request.memory_mib, request.disk_gib)
        quotas.raise_to_fit(project=request.project, need=need, staff=staff, now=now)
    _grant(request, staff, host_name or None, now)
    _tell(request)
    return queries.get_visible(user=staff, id=request_id)


def _grant(request: MachineRequest, staff: User | None, host_name: str | None, now: datetime) -> None:
    _decide(request, Event.APPROVED, staff, "", now)
    job = jobs.create_machine(
        project=request.project,
        owner=request.requester,
        name=request.name,
        image=request.image,
        network=request.network,
        vcpus=request.vcpus,
        memory_mib=request.memory_mib,
        disk_gib=request.disk_gib,
        seed=request.seed,
        host_name=host_name,
        requested_by=request.requester,
        now=now,
    )
    # the machine keeps the seed until it is built; it is not needed here any more
    MachineRequest.objects.filter(id=request.id).update(machine=job.machine, job=job, seed={}, why_pending="")


@transaction.atomic
def reject(*, staff: User, request_id: UUID, reason: str, now: datetime) -> MachineRequest:
    """Reject a pending request; `reason` is shown to the requester.

    Raises NotFoundError, ForbiddenError, InvalidError, RequestDecidedError.
    """
    request = _find_for_staff(staff, request_id)
    _decide(request, Event.REJECTED, staff, _read_why(reason), now)
    _tell(request)
    return queries.get_visible(user=staff, id=request_id)


def _read_why(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON or "\0" in reason:
        why = Message("DECISION_REASON_NEEDED", max_length=MAX_REASON)
        raise InvalidError(why, fields={"reason": [why]})
    return reason


@transaction.atomic
def withdraw(*, user: User, request_id: UUID, now: datetime) -> MachineRequest:
    """Withdraw one's own request. Raises NotFoundError, ForbiddenError, RequestDecidedError."""
    request = queries.get_visible(user=user, id=request_id)
    if request.requester_id != user.id:
        raise ForbiddenError(Message("ONLY_REQUESTER_WITHDRAWS"))
    _decide(request, Event.WITHDRAWN, user, "", now)
    _tell(request)
    return queries.get_visible(user=user, id=request_id)


def _find_for_staff(staff: User, request_id: UUID) -> MachineRequest:
    request = queries.get_visible(user=staff, id=request_id)
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_DECIDES"))
    return request


def _decide(request: MachineRequest, event: Event, by: User | None, reason: str, now: datetime) -> None:
    if not status.decide(request=request, event=event, by=by, reason=reason, now=now):
        request.refresh_from_db(fields=("status",))
        raise RequestDecidedError(Message("REQUEST_ALREADY", state=request.status))
    if event != Event.APPROVED:
        MachineRequest.objects.filter(id=request.id).update(seed={})
    _record(request, by, f"{event}_REQUEST", reason, now)


def _record(request: MachineRequest, actor: User | None, action: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_kind="request",
        target_id=str(request.id),
        target_name=request.name,
        detail=detail,
        now=now,
    )


def _tell(request: MachineRequest) -> None:
    events.publish(
        kind="request",
        id=str(request.id),
        user_ids=people.member_ids(project_id=request.project_id),
        machine=str(request.machine_id or ""),
    )


# --- more quota --------------------------------------------------------------------------------


class QuotaRequestOpenError(UserError):
    """The user already has a pending quota request for this project."""

    code = "QUOTA_REQUEST_OPEN"


class RequestChangedError(UserError):
    """The request was changed after staff looked at it."""

    code = "REQUEST_CHANGED"


@transaction.atomic
def ask_for_quota(*, user: User, wish: MoreWish, now: datetime) -> QuotaRequest:
    """Submit a request for higher limits. Raises NotFoundError, QuotaRequestOpenError."""
    if not people.projects_of(user=user).filter(id=wish.project.id).exists():
        raise NotFoundError
    try:
        with transaction.atomic():
            request = QuotaRequest.objects.create(requester=user, created_at=now, **vars(wish))
    except IntegrityError:
        why = Message("QUOTA_REQUEST_OPEN")
        raise QuotaRequestOpenError(why) from None
    _record_more(request, user, "REQUEST_QUOTA", now)
    return queries.get_quota_request(user=user, id=request.id)


@transaction.atomic
def change_quota_request(*, user: User, request_id: UUID, wish: MoreWish, now: datetime) -> QuotaRequest:
    """Change one's own pending request; staff must look at the new version.

    Raises NotFoundError, ForbiddenError, RequestDecidedError.
    """
    request = queries.get_quota_request(user=user, id=request_id)
    if request.requester_id != user.id:
        raise ForbiddenError(Message("ONLY_REQUESTER_CHANGES"))
    figures = {name: value for name, value in vars(wish).items() if name != "project"}
    pending = QuotaRequest.objects.filter(id=request.id, status=QuotaRequest.Status.PENDING)
    if not pending.update(version=F("version") + 1, **figures):
        raise _decided(request)
    request.refresh_from_db()
    _record_more(request, user, "CHANGE_QUOTA_REQUEST", now)
    return request


@transaction.atomic
def approve_quota(*, staff: User, request_id: UUID, version: int, now: datetime) -> QuotaRequest:
    """Grant the limits of the request in this version; nobody may approve their own request.

    Limits that are higher already are kept. Raises NotFoundError, ForbiddenError, RequestDecidedError,
    RequestChangedError.
    """
    request = _find_more_for_staff(staff, request_id)
    if request.requester_id == staff.id:
        raise ForbiddenError(Message("DECISION_NEEDS_ANOTHER"))
    _decide_more(request, Event.APPROVED, staff, "", version, now)
    request.refresh_from_db()
    quotas.grant_limits(
        project=request.project, limits=quota_increase.figures_of(request), staff=staff, now=now
    )
    return queries.get_quota_request(user=staff, id=request_id)


@transaction.atomic
def reject_quota(*, staff: User, request_id: UUID, reason: str, now: datetime) -> QuotaRequest:
    """Reject a pending request; `reason` is shown to the requester.

    Raises NotFoundError, ForbiddenError, InvalidError, RequestDecidedError.
    """
    request = _find_more_for_staff(staff, request_id)
    _decide_more(request, Event.REJECTED, staff, _read_why(reason), None, now)
    return queries.get_quota_request(user=staff, id=request_id)


@transaction.atomic
def withdraw_quota(*, user: User, request_id: UUID, now: datetime) -> QuotaRequest:
    """Withdraw one's own request. Raises NotFoundError, ForbiddenError, RequestDecidedError."""
    request = queries.get_quota_request(user=user, id=request_id)
    if request.requester_id != user.id:
        raise ForbiddenError(Message("ONLY_REQUESTER_WITHDRAWS"))
    _decide_more(request, Event.WITHDRAWN, user, "", None, now)
    return queries.get_quota_request(user=user, id=request_id)


def _find_more_for_staff(staff: User, request_id: UUID) -> QuotaRequest:
    request = queries.get_quota_request(user=staff, id=request_id)
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_DECIDES"))
    return request


def _decide_more(
    request: QuotaRequest,
    event: Event,
    by: User,
    reason: str,
    version: int | None,
    now: datetime,
) -> None:
    still = None if version is None else Q(version=version)
    if not status.decide(request=request, event=event, by=by, reason=reason, now=now, still=still):
        if QuotaRequest.objects.filter(id=request.id, status=QuotaRequest.Status.PENDING).exists():
            raise RequestChangedError(Message("REQUEST_CHANGED"))
        raise _decided(request)
    _record_more(request, by, f"{event}_QUOTA_REQUEST", now, reason)


def _decided(request: QuotaRequest) -> RequestDecidedError:
    request.refresh_from_db(fields=("status",))
    return RequestDecidedError(Message("REQUEST_ALREADY", state=request.status))


def _record_more(request: QuotaRequest, actor: User, action: str, now: datetime, why: str = "") -> None:
    audit.record(
        actor=actor,
        action=action,
        target_kind="quota request",
        target_id=str(request.id),
        target_name=request.project.name,
        detail=why or quota_increase.describe(request),
        now=now,
    )
    user_ids = people.member_ids(project_id=request.project_id)
    events.publish(kind="request", id=str(request.id), user_ids=user_ids)
