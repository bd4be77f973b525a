"""Schemathesis, driven by the generated document against the running program.

No request may be a server error, and every answer has a status, a type and a body that the
document names. Values that the document does not allow are sent as well. The chains of requests
that Schemathesis makes up need a server that forgets all between two of them; here half of the
requests name rows that are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
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

CALLERS = ("administrator", "ann", "guest", "nobody")
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
"""What the document allows, and what it does not."""
PLAYED = [(who, mode) for who in CALLERS for mode in (POSITIVE, NEGATIVE)]
if not LONG:
    PLAYED = [each for each in PLAYED if each not in (("ann", NEGATIVE), ("nobody", NEGATIVE))]

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


@pytest.mark.parametrize(("who", "mode"), PLAYED)
def test_the_program_keeps_its_word(
    schema: BaseSchema, server: Server, who: str, mode: GenerationMode
) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        visitor = Visitor(server=server, mode=mode, token=token_of(server, who), admin=admin)
        operations = {}
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            if name not in ENDLESS:
                operations[name] = operation
                visitor.exercise(operation, EXAMPLES)
        if who == "administrator" and mode is POSITIVE:
            for name in DONE - visitor.done:
                visitor.exercise(operations[name], EXAMPLES_MAX)
            assert visitor.done >= DONE, DONE - visitor.done


def token_of(server: Server, who: str) -> str | None:
    match who:
        case "administrator":
            return ADMIN_TOKEN
        case "nobody":
            return None
        case "guest":
            with server.client() as client:
                token: str = client.post("/api/auth/guest").json()["token"]
            return token
    return server.token_of(who)


@dataclass
class Visitor:
    """One caller, who sends what is allowed, or what is not."""

    server: Server
    mode: GenerationMode
    token: str | None
    admin: httpx.Client
    done: set[str] = field(default_factory=set)
    """The operations that have succeeded."""
    made: int = 0

    def exercise(self, operation: APIOperation[Any, Any, Any, Any], examples: int) -> None:
        """Send requests to one operation and check the answers."""
        name = operation.definition.raw["operationId"]

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=self.mode), is_there=st.booleans())
        def send(case: Case[Any], is_there: bool) -> None:
            if is_there:
                self.name_rows(case)
            answer = case.call_and_validate(
                base_url=self.server.url, headers=bearer(self.token), checks=CHECKS
            )
            if answer.status_code < 300:
                self.done.add(name)

        # There is nothing wrong that could be sent to an operation without a body or parameters.
        with suppress(Unsatisfiable):
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
            self.made += 1
            data[UNIQUE[entity]] = f"{self.mode}{self.token}{self.made}"
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
