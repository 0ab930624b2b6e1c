"""Query users, projects, memberships and tokens."""

from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from webxen.accounts.models import ApiToken, Membership, Project, User


def projects_of(*, user: User) -> QuerySet[Project]:
    """The projects the user is a member of."""
    return Project.objects.filter(members=user)


def visible_projects(*, user: User) -> QuerySet[Project]:
    """The projects whose objects the user may see; all for staff."""
    return Project.objects.all() if user.is_staff else projects_of(user=user)


class Sight(NamedTuple):
    """What determines which machines a user sees and may act on: users with equal values see the same."""

    is_staff: bool
    projects: frozenset[UUID]


def sight_of(*, user: User) -> Sight:
    """Return the user's Sight."""
    if user.is_staff:
        return Sight(is_staff=True, projects=frozenset())
    ids = projects_of(user=user).values_list("id", flat=True)
    return Sight(is_staff=False, projects=frozenset(ids))


def staff() -> QuerySet[User]:
    """Active staff, by user name."""
    return User.objects.filter(is_staff=True, is_active=True).order_by("username")


def member_ids(*, project_id: UUID) -> list[int]:
    """Ids of the project's active members."""
    return list(User.objects.filter(projects=project_id, is_active=True).values_list("id", flat=True))


def tokens_visible_to(*, user: User) -> QuerySet[ApiToken]:
    """The user's own tokens; all tokens for staff."""
    found = ApiToken.objects.select_related("user")
    return found if user.is_staff else found.filter(user=user)


def tokens(*, of: User | None) -> QuerySet[ApiToken]:
    """All tokens, or those of one user; for the command line."""
    found = ApiToken.objects.select_related("user")
    return found if of is None else found.filter(user=of)


def user_named(*, username: str) -> User | None:
    """The user of this name, or None; without a visibility check."""
    return User.objects.filter(username=username).first()


def seats_of(*, user: User) -> QuerySet[Membership]:
    """The user's memberships, each with its project."""
    return Membership.objects.filter(user=user).select_related("project").order_by("project__slug")


def project_named(*, slug: str) -> Project | None:
    """The project with this slug, or None; without a visibility check."""
    return Project.objects.filter(slug=slug).first()


def person_named(*, username: str) -> User | None:
    """The user of this name, or None; without a visibility check."""
    return User.objects.filter(username=username).first()


def staff_named(*, username: str | None) -> User | None:
    """The active staff user of this name, or the first staff user for None; for the command line."""
    people = User.objects.filter(is_staff=True, is_active=True).order_by("id")
    return (people if username is None else people.filter(username=username)).first()
