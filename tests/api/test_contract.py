"""Schemathesis, driven by the generated document against the running program.

No request may be a server error, and every answer has a status, a type and a body that the
document names. Values that the document does not allow are sent as well. The chains of requests
that Schemathesis makes up need a server that forgets all between two of them; here half of the
requests name rows that are there. Making up a request takes far longer than answering it, so each
is sent by every caller.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
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
Operation = APIOperation[Any, Any, Any, Any]

LONG = bool(os.environ.get("PYLON_LONG"))
EXAMPLES = 50 if LONG else 5
EXAMPLES_MAX = 100
"""How many more an operation is given that has yet to succeed."""

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
    "Page": {"orgId": "acme"},
}
UNIQUE = {"Page": "title"}
"""A field that must differ from row to row."""
NUMBERS = count()

CALLERS = ("administrator", "ann", "guest", "nobody")
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
"""What the document allows, and what it does not."""

DONE = {
    *("createSessionEntity", "listSession", "listSessionByCursor", "getSessionById"),
    *("updateSession", "deleteSession", "querySession", "getErrorById", "deleteError"),
    *("graphQuery", "syncPull", "exportAll", "exportSession", "getManifest", "getOpenApiSpec"),
    *("createGuestSession", "createSession", "getIdentity", "listSessions", "healthCheck"),
    *("syncStatus", "listPresent", "searchSession", "searchPage", "aggregatePage", "queryPage"),
    *("updatePage", "lookupSession", "linkRows", "unlinkRows", "exportUserData", "purgeUserData"),
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
        for org in ("acme", "other"):
            admin.post("/api/entities/Member", json={"orgId": org, "userId": "ann"})
        return schemathesis.openapi.from_dict(admin.get("/api/openapi.json").json())


@pytest.mark.timeout(1_200)
def test_the_program_keeps_its_word(schema: BaseSchema, server: Server) -> None:
    operations = operations_by_name(schema)
    with server.client(ADMIN_TOKEN) as admin:
        callers = Callers(server, admin)
        for operation in operations.values():
            callers.send_to(operation, POSITIVE, EXAMPLES)
        for name in DONE - callers.done:
            callers.send_to(operations[name], POSITIVE, EXAMPLES_MAX)
        assert callers.done >= DONE, DONE - callers.done


@pytest.mark.timeout(1_200)
def test_it_keeps_its_word_to_those_who_break_theirs(schema: BaseSchema, server: Server) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        callers = Callers(server, admin)
        for operation in operations_by_name(schema).values():
            if can_be_wrong(operation):
                callers.send_to(operation, NEGATIVE, EXAMPLES)


def operations_by_name(schema: BaseSchema) -> dict[str, Operation]:
    """All but the streams."""
    operations = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        name = found.ok().definition.raw["operationId"]
        if name not in ENDLESS:
            operations[name] = found.ok()
    return operations


def can_be_wrong(operation: Operation) -> bool:
    """Whether anything could be sent that the document does not allow: any text is an id."""
    named = {parameter.name for parameter in operation.iter_parameters()}
    return bool(operation.body) or not named <= {"id"}


def token_of(server: Server, admin: httpx.Client, who: str) -> str | None:
    match who:
        case "administrator":
            return ADMIN_TOKEN
        case "nobody":
            return None
        case "guest":
            # The administrator makes it: an address has an allowance of guests.
            made: str = admin.post("/api/auth/guest").json()["token"]
            return made
    return server.token_of(who)


class Callers:
    """All of them; each sends a request after the other."""

    def __init__(self, server: Server, admin: httpx.Client) -> None:
        self.server, self.admin = server, admin
        self.done: set[str] = set()
        """The operations that have succeeded for the administrator."""

    def send_to(self, operation: Operation, mode: GenerationMode, examples: int) -> None:
        """Send requests to one operation and check the answers."""
        # Sessions of their own: some operations end the caller's.
        tokens = [token_of(self.server, self.admin, who) for who in CALLERS]

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), is_there=st.booleans())
        def send(case: Case[Any], is_there: bool) -> None:
            for token in tokens:
                if is_there:
                    self.name_rows(case)
                answer = case.call_and_validate(
                    base_url=self.server.url, headers=bearer(token), checks=CHECKS
                )
                if answer.status_code < 300 and token == ADMIN_TOKEN:
                    self.done.add(operation.definition.raw["operationId"])

        send()

    def name_rows(self, case: Case[Any]) -> None:
        """Name rows that are there, since no generated id is one of a row."""
        parts = case.path.split("/")
        entity = next((part for part in parts if part in ROWS), None)
        if entity is not None and "id" in case.path_parameters:
            case.path_parameters["id"] = self.row(entity)
        elif entity is not None and "field" in case.path_parameters:
            case.path_parameters.update(field="id", value=self.row(entity))
        elif parts[2:3] in (["link"], ["unlink"]) and isinstance(case.body, dict):
            names = {"entity": "Error", "relation": "session", "id": self.row("Error")}
            case.body |= {**names, "target_id": self.row("Session")}
        else:
            for item in operations_of(case.body):
                for key in item.keys() & {"id", "row_id"}:
                    item[key] = self.row(item["entity"])

    def row(self, entity: str) -> str:
        """A new row."""
        data = dict(ROWS[entity])
        if entity in UNIQUE:
            data[UNIQUE[entity]] = f"page {next(NUMBERS)}"
        made: str = self.admin.post(f"/api/entities/{entity}", json=data).json()["id"]
        return made


def operations_of(body: Any) -> list[dict[str, Any]]:
    """The operations of a transaction, a batch or a push on entities of which there are rows."""
    if isinstance(body, dict):
        body = body.get("operations", body.get("changes"))
    items = body if isinstance(body, list) else []
    return [
        item
        for item in items
        if isinstance(item, dict) and any(item.get("entity") == name for name in ROWS)
    ]
