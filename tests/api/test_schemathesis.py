"""What the OpenAPI document promises, asked of each address by a machine that tries everything.

Lives here: schemathesis over the document, in process, as each role: no server error, no status, content
type, header or body that the document does not name, and no address that forgets to ask who is there.
`make model` asks many times more.
"""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
import yaml
from django.db import transaction
from django.test.client import ClientHandler
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.conftest import Caller
from tests.api.test_schema import COMMITTED

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
    unsupported_method,
]
HANDLER = ClientHandler(enforce_csrf_checks=True)


def answer_in_process(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Django as its own test client calls it: the connection to the database outlives the request."""
    answer = HANDLER(environ)
    start_response(f"{answer.status_code} {answer.reason_phrase}", list(answer.items()))
    return [answer.getvalue()]


ROLES = ("nobody", "reader", "alice", "charlie", "dana")
DOCUMENT = yaml.load(COMMITTED.read_text(), Loader=yaml.CSafeLoader)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = answer_in_process
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.fixture
def secrets(role_secrets: dict[str, str]) -> dict[str, Caller]:
    """A caller of each role."""
    return {role: Caller(role_secrets[role]) for role in ROLES}


@pytest.fixture
def known_ids(web1: Any, pending: Any, xen1: Any, as_alice: Caller) -> dict[str, str]:
    """Ids that lead somewhere, by the name of the parameter."""
    token = as_alice.get("tokens/").json()["results"][0]["id"]
    return {
        "machine_id": str(web1.id),
        "job_id": str(web1.jobs.get().id),
        "request_id": str(pending.id),
        "host": str(xen1.id),
        "token_id": str(token),
    }


def wrong(operation: Any) -> st.SearchStrategy[Any]:
    """Cases the document forbids; nothing for an operation that takes nothing."""
    takes = operation.body or operation.query or operation.path_parameters
    return operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if takes else st.nothing()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: f"{found.method.upper()} {found.path}")
class TestEveryOperation:
    def test_keeps_to_the_document(
        self,
        operation: Any,
        secrets: dict[str, Caller],
        known_ids: dict[str, str],
        small: Any,
        pytestconfig: pytest.Config,
    ) -> None:
        cases = operation.as_strategy() | wrong(operation)
        many = 200 if pytestconfig.getoption("--model") else 3

        @settings(
            max_examples=many,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=cases, role=st.sampled_from(ROLES), is_known=st.booleans())
        def ask(case: Any, role: str, is_known: bool) -> None:
            if is_known and case.path_parameters:
                case.path_parameters = {
                    name: known_ids.get(name, value) for name, value in case.path_parameters.items()
                }
            with transaction.atomic():
                answer = case.call(headers=secrets[role].headers)
                case.validate_response(answer, checks=CHECKS, headers=secrets[role].headers)
                transaction.set_rollback(True)

        ask()
