"""Export the audit as one JSON object per line, oldest first, to keep it beyond the retention period."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from webxen.core import queries


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


class Command(BaseCommand):
    help = "Write the audit to standard output, one JSON object a line, the oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_day, metavar="YYYY-MM-DD", help="from this day on (UTC)")
        parser.add_argument(
            "--before", type=_day, metavar="YYYY-MM-DD", help="up to this day, without it (UTC)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for entry in queries.audit_between(since=options["since"], before=options["before"]):
            line = {
                "at": entry.at.isoformat(),
                "actor": entry.actor.username if entry.actor else None,
                "policy": entry.policy,
                "action": entry.action,
                "target_kind": entry.target_kind,
                "target_id": entry.target_id,
                "target_name": entry.target_name,
                "detail": entry.detail,
                "token": str(entry.token_id) if entry.token_id else None,
                "address": entry.address,
                "request_id": entry.request_id,
            }
            self.stdout.write(json.dumps(line))
