"""What each verb of the contract needs besides its row: each check returns what is missing."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache

from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.functional import Promise

from devtools.fakexl import verbs as stand_in
from tests.conventions.tree import ROOT, read_python
from webxen.core.models import AuditEntry
from webxen.diagnostics import burnin_verbs
from webxen.jobs.models import Job, JobEvent
from webxen.machines import lifecycle
from webxen.machines.models import Machine
from webxen.web import words
from worker.agent import executor
from worker.contract import Order, Verb
from worker.job import order_checks
from worker.xen import xl

#: operations of verbs with a URL of their own
OWN_OPERATIONS = {"CREATE": "create_request", "DELETE": "delete_machine", "MIGRATE": "migrate_machine"}
#: commands between two hosts' xl: tests/lab and tests/worker run them
BETWEEN_TWO = {"migrate-receive"}


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def texts_below(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob("*.py")))


def lacks_of(verb: Verb) -> list[str]:
    """Return everything that the verb lacks, one line each."""
    finders = (_of_the_row, _of_columns, _of_the_worker, _of_labels, _of_the_portal, _of_documents, _of_tests)
    return [f"{verb.kind}: {lack}" for find in finders for lack in find(verb)]


def _of_the_row(verb: Verb) -> Iterator[str]:
    if not verb.kind or not re.fullmatch(r"[A-Z][A-Z_]*", verb.kind):
        yield "its order class has no kind in capitals"
    if not 0 < verb.deadline_seconds <= order_checks.MAX_DEADLINE_SECONDS:
        yield f"its deadline is not between 1 and {order_checks.MAX_DEADLINE_SECONDS} seconds"
    if not verb.steps:
        yield "it has no steps"
    if sorted(step.at for step in verb.steps) != [step.at for step in verb.steps] and not verb.has_two_hosts:
        yield "its steps do not stand in the order of their share of the bar"
    if not set(verb.powers) | ({verb.power_after} - {""}) <= set(Machine.Power.values):
        yield "a power of its row is none of Machine.Power"
    if not verb.states <= set(Machine.State.values):
        yield "a state of its row is none of Machine.State"
    if not verb.xl:
        yield "its row names no command of xl"


def _of_columns(verb: Verb) -> Iterator[str]:
    ours = {field.name for field in dataclasses.fields(Order)}
    extra = [field for field in dataclasses.fields(verb.order) if field.name not in ours]
    if verb.asked_by == "ACTION" and any(field.default is dataclasses.MISSING for field in extra):
        yield "it is asked by its address alone, and its order has fields without a default"
    if len(verb.kind) > (Job._meta.get_field("kind").max_length or 0):
        yield "its kind does not fit into a job's column"
    for step in verb.steps:
        if len(step.code) > (JobEvent._meta.get_field("step").max_length or 0):
            yield f"its step {step.code} does not fit into its column"
    if len(f"CANCEL_{verb.kind}") > (AuditEntry._meta.get_field("action").max_length or 0):
        yield "its kind does not fit into the audit's column"


def _of_the_worker(verb: Verb) -> Iterator[str]:
    if verb.kind not in executor.ACTS:
        yield "no function of the worker carries it out (worker/agent/executor.py)"
    tests = texts_below("tests/contract/xl")
    for command in verb.xl:
        if not hasattr(xl.Xl, command.replace("-", "_")):
            yield f"worker/xen/xl.py has no method for xl {command}"
        if command not in stand_in.VERBS:
            yield f"the stand-in has no xl {command} (devtools/fakexl/verbs.py)"
        if f'"{command}"' not in tests and command not in BETWEEN_TWO:
            yield f"tests/contract/xl does not hold xl {command} and the stand-in to the same answer"


def _of_labels(verb: Verb) -> Iterator[str]:
    labels: dict[str, str | Promise | None] = {
        f"its step {step.code}": words.STEPS.get(step.code) for step in verb.steps
    }
    if verb.asked_by != "PORTAL":
        labels["its kind"] = words.JOB_KINDS.get(verb.kind)
    if verb.asked_by == "ACTION":
        button = next((button for button in words.BUTTONS if button.action == verb.action), None)
        labels["its button"] = button.word if button else None
        if verb.loudness == "ASKS_NAME":
            yield "it asks for the name, and only a page of its own (asked_by OWN) can do that"
        if verb.loudness != "PLAIN":
            labels["its button's question"] = (button.question or None) if button else None
        elif button is not None and button.question:
            yield "its row is PLAIN and its button asks"
    for what, label in labels.items():
        if label is None:
            yield f"{what} has no label (webxen/web/words.py)"
        elif not _is_translated(label):
            yield f"{what} has no Russian label"


def _is_translated(label: str | Promise) -> bool:
    with translation.override("en"):
        english = str(label)
    with translation.override("ru"):
        return str(label) != english or bool(re.search("[а-яё]", str(label)))


def _of_the_portal(verb: Verb) -> Iterator[str]:
    events = {event for event in (verb.event_asked, verb.event_failed) if event}
    if not events <= set(lifecycle.Event):
        yield "an event of its row is none of lifecycle.Event"
    elif verb.event_asked and verb.states != lifecycle.TRANSITIONS[lifecycle.Event(verb.event_asked)].sources:
        yield f"its states are not those from which {verb.event_asked} leads on"
    if verb.asked_by != "ACTION":
        return
    try:
        reverse(f"api:{verb.action}", args=["00000000-0000-0000-0000-000000000000"])
    except (NoReverseMatch, ImproperlyConfigured):
        yield f"POST machines/{{id}}/{verb.action}/ is not routed"
    if verb.action not in burnin_verbs.VERBS:
        yield "burn-in does not try it"


def _of_documents(verb: Verb) -> Iterator[str]:
    if line_of(verb) not in text_of("docs/states.md"):
        yield f"docs/states.md has no line {line_of(verb)}"
    if verb.asked_by == "PORTAL":
        return
    operation = OWN_OPERATIONS.get(verb.kind, f"{verb.action}_machine")
    if not re.search(rf"operationId: {operation}\n", text_of("docs/openapi.yaml")):
        yield f"docs/openapi.yaml has no operation {operation}"
    if verb.asked_by == "ACTION" and f"{verb.action}/`" not in text_of("docs/api.md"):
        yield f"docs/api.md does not name machines/{{id}}/{verb.action}/"


def _of_tests(verb: Verb) -> Iterator[str]:
    if f'"{verb.action}"' not in texts_below("tests/worker") and verb.order.__name__ not in texts_below(
        "tests/worker"
    ):
        yield "tests/worker does not carry it out"


def line_of(verb: Verb) -> str:
    """Return the verb's line in docs/states.md."""

    def names(values: frozenset[str]) -> str:
        return " ".join(f"`{value}`" for value in sorted(values)) or "any"

    states = names(verb.states) if verb.states else "–"
    if verb.stops_failed:
        states += ", or `FAILED` and seen with a domain"
    after = f"`{verb.power_after}`" if verb.power_after else "–" if verb.event_asked else "as before"
    until = {
        "ALWAYS": "until its end",
        "UNTIL_BEGUN": "until its host has begun it",
        "UNTIL_GO": "until the point of no return",
    }[verb.cancellable]
    who = (
        {"MEMBER": "members", "STAFF": "staff"}[verb.permission]
        if verb.asked_by != "PORTAL"
        else "the portal"
    )
    return (
        f"| `{verb.kind}` | {who} | {states} | {names(verb.powers)} | {after} | {until} |"
        f" {verb.deadline_seconds} s |"
    )


def steps_said() -> dict[str, str]:
    """Return the step codes that the worker's code reports, with their places."""
    found = {}
    for source in read_python():
        if not source.is_in("worker/"):
            continue
        for node in source.nodes:
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"step", "say", "share", "tell"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                found[node.args[0].value] = f"{source.path}:{node.lineno}"
    return found
