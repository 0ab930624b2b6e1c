"""URL converter for ids: a UUID in upper or lower case, as in bodies."""

from uuid import UUID


class AnyCaseUuid:
    """Django's UUID converter, which accepts only lower case, extended to upper case."""

    regex = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"

    def to_python(self, value: str) -> UUID:
        return UUID(value)

    def to_url(self, value: UUID | str) -> str:
        return str(value)
