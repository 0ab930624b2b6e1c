"""List API tokens, and revoke one or all of a user, on the portal's machine."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from webxen.accounts import operations, queries
from webxen.accounts.models import ApiToken
from webxen.core import clock


class Command(BaseCommand):
    help = "List API tokens, newest first; revoke one, or all of a person."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="only the tokens of this person")
        parser.add_argument(
            "--revoke", type=UUID, metavar="ID", help="revoke this token and those made with it"
        )
        parser.add_argument("--revoke-all", action="store_true", help="revoke every token of --user")

    def handle(self, *args: Any, **options: Any) -> None:
        user = queries.user_named(username=options["user"]) if options["user"] else None
        if options["user"] and user is None:
            raise CommandError(f"There is no account {options['user']}.")
        if options["revoke_all"]:
            if user is None:
                raise CommandError("Name the person: --user NAME --revoke-all")
            count = operations.revoke_tokens_of(person=user, by=None, now=clock.now())
            self.stdout.write(f"{count} tokens of {user.username} revoked.")
            return
        if options["revoke"]:
            if not operations.revoke_any_token(token_id=options["revoke"], now=clock.now()):
                raise CommandError("There is no token of this id.")
            self.stdout.write("Revoked.")
            return
        for token in queries.tokens(of=user):
            self.stdout.write(_line(token))


def _line(token: ApiToken) -> str:
    scopes = ",".join(token.scopes) or "all"
    expires = f"{token.expires_at:%Y-%m-%d %H:%M}" if token.expires_at else "never"
    used = f"{token.last_used_at:%Y-%m-%d %H:%M} {token.last_address}" if token.last_used_at else "never"
    name = token.name
    return f"{token.id}  {token.user.username}  {name!r}  scopes {scopes}  expires {expires}  used {used}"
