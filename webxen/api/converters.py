"""How ids stand in addresses: a UUID in any case, as it is accepted in a body."""

from uuid import UUID


class AnyCaseUuid:
    """Django's own converter, which knows lower case only, with the other letters as well."""

    regex = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"

    def to_python(self, value: str) -> UUID:
        return UUID(value)

    def to_url(self, value: UUID | str) -> str:
        return str(value)
