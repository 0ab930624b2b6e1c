"""Reading people: whose projects, members and tokens one may see. Nothing is written here."""

from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from webxen.accounts.models import ApiToken, Membership, Project, User


def projects_of(*, user: User) -> QuerySet[Project]:
    """The projects this person has a seat in."""
    return Project.objects.filter(members=user)


def visible_projects(*, user: User) -> QuerySet[Project]:
    """The projects whose things this person may see: staff sees all."""
    return Project.objects.all() if user.is_staff else projects_of(user=user)


class Sight(NamedTuple):
    """What decides which machines a person sees, and what may be done to them: equal ones see the same."""

    is_staff: bool
    projects: frozenset[UUID]


def sight_of(*, user: User) -> Sight:
    if user.is_staff:
        return Sight(is_staff=True, projects=frozenset())
    ids = projects_of(user=user).values_list("id", flat=True)
    return Sight(is_staff=False, projects=frozenset(ids))


def staff() -> QuerySet[User]:
    """Whom to ask."""
    return User.objects.filter(is_staff=True, is_active=True).order_by("username")


def member_ids(*, project_id: UUID) -> list[int]:
    """Who is told when something in this project changes."""
    return list(User.objects.filter(projects=project_id, is_active=True).values_list("id", flat=True))


def tokens_visible_to(*, user: User) -> QuerySet[ApiToken]:
    """One's own tokens; staff sees everybody's."""
    found = ApiToken.objects.select_related("user")
    return found if user.is_staff else found.filter(user=user)


def tokens(*, of: User | None) -> QuerySet[ApiToken]:
    """Every token, or those of one person: for commands on the portal's own machine."""
    found = ApiToken.objects.select_related("user")
    return found if of is None else found.filter(user=of)


def user_named(*, username: str) -> User | None:
    return User.objects.filter(username=username).first()


def seats_of(*, user: User) -> QuerySet[Membership]:
    """The seats of this person, each with its project."""
    return Membership.objects.filter(user=user).select_related("project").order_by("project__slug")


def project_named(*, slug: str) -> Project | None:
    return Project.objects.filter(slug=slug).first()


def person_named(*, username: str) -> User | None:
    return User.objects.filter(username=username).first()


def staff_named(*, username: str | None) -> User | None:
    """A member of staff, for commands on the portal's own machine. None: whoever was the first."""
    people = User.objects.filter(is_staff=True, is_active=True).order_by("id")
    return (people if username is None else people.filter(username=username)).first()
