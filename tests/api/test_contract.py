"""Schemathesis, driven by the generated document against the running program.

No request may be a server error, and every answer has a status, a type and a body that the
document names. Values that the document does not allow are sent as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server import ADMIN_TOKEN, Server, bearer, serving

APP = Path(__file__).parent / "contract_app.py"
EXAMPLES = 300 if os.environ.get("PYLON_LONG") else 6

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

ROWS: dict[str, dict[str, Any]] = {
    "Session": {"title": "x", "rank": 1, "ownerId": None},
    "Error": {},
}

DONE = {
    *("createSessionEntity", "listSession", "listSessionByCursor", "getSessionById"),
    *("updateSession", "deleteSession", "querySession", "getErrorById", "deleteError"),
    *("graphQuery", "syncPull", "exportAll", "exportSession", "getManifest", "getOpenApiSpec"),
    *("createGuestSession", "createSession", "getIdentity", "listSessions", "healthCheck"),
}
"""What the administrator's valid requests must have got done at least once."""

ENDLESS = {"liveEvents"}
"""Streams without an end; `test_live` has them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("contract") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def schema(server: Server) -> BaseSchema:
    with server.client(ADMIN_TOKEN) as admin:
        return schemathesis.openapi.from_dict(admin.get("/api/openapi.json").json())


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("who", "mode"),
    [
        ("administrator", GenerationMode.POSITIVE),
        ("administrator", GenerationMode.NEGATIVE),
        ("ann", GenerationMode.POSITIVE),
        ("nobody", GenerationMode.NEGATIVE),
    ],
)
def test_the_program_keeps_its_word(
    schema: BaseSchema, server: Server, who: str, mode: GenerationMode
) -> None:
    tokens = {"administrator": ADMIN_TOKEN, "nobody": None}
    token = tokens[who] if who in tokens else server.token_of(who)
    seen: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name not in ENDLESS:
            statuses = seen.setdefault(name, set())
            exercise(operation, server, mode, bearer(token), statuses)
    if who == "administrator" and mode is GenerationMode.POSITIVE:
        done = {name for name, statuses in seen.items() if any(s < 300 for s in statuses)}
        assert done >= DONE, DONE - done


def exercise(
    operation: APIOperation[Any, Any, Any, Any],
    server: Server,
    mode: GenerationMode,
    headers: dict[str, str],
    statuses: set[int],
) -> None:
    """Send requests to one operation and check the answers; gathers their statuses."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_there=st.booleans())
    def send(case: Case[Any], is_there: bool) -> None:
        if is_there:
            name_a_row(case, server)
        answer = case.call_and_validate(base_url=server.url, headers=headers, checks=CHECKS)
        statuses.add(answer.status_code)

    # There is nothing wrong that could be sent to an operation without a body or parameters.
    with suppress(Unsatisfiable):
        send()


def name_a_row(case: Case[Any], server: Server) -> None:
    """Let a path with an id name a new row, since no generated id is one of a row."""
    entity = next((part for part in case.path.split("/") if part in ROWS), None)
    if entity is not None and "id" in case.path_parameters:
        with server.client(ADMIN_TOKEN) as admin:
            made = admin.post(f"/api/entities/{entity}", json=ROWS[entity]).json()
        case.path_parameters["id"] = made["id"]
