"""Schemathesis against the running server: no 500, and no status that the routes do not have.

The document below says what the routes of rows, sync and auth take; it is deliberately loose, so
that wrong values are sent as well.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case

from tests.server import ADMIN_TOKEN, Server, bearer

EXAMPLES = 500 if os.environ.get("PYLON_LONG") else 25

ANYTHING: dict[str, Any] = {}
ENTITY = {"type": "string", "enum": ["Sample", "Strict", "Note", "Mark", "Shown", "Nope"]}
STATUSES = (200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 429, 431, 507)

VALUES = {
    "type": "object",
    "properties": {
        "text": {"type": ["string", "null"]},
        "number": {"type": ["integer", "null"]},
        "n": {"type": ["integer", "number", "null", "string"]},
        "ratio": {"type": ["number", "null"]},
        "flag": {"type": ["boolean", "integer", "null"]},
        "at": {"type": "string", "format": "date-time"},
        "body": {"type": ["string", "null"]},
        "link": ANYTHING,
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "id": {"type": "string"},
    },
}


def parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def operation(*parameters: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "parameters": list(parameters),
        "responses": {str(status): {"description": "known"} for status in STATUSES},
    }
    if body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return made


NUMBER = {"type": ["integer", "string"]}
TEXT = {"type": "string"}
OF_ENTITY = parameter("entity", "path", ENTITY)
OF_ROW = parameter("id", "path", {"type": "string", "minLength": 1})
EITHER_BODY = {"anyOf": [VALUES, ANYTHING]}

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "rows", "version": "1"},
    "paths": {
        "/api/entities/{entity}": {
            "get": operation(
                OF_ENTITY, parameter("limit", "query", NUMBER), parameter("offset", "query", NUMBER)
            ),
            "post": operation(OF_ENTITY, body=EITHER_BODY),
        },
        "/api/entities/{entity}/cursor": {
            "get": operation(
                OF_ENTITY, parameter("limit", "query", NUMBER), parameter("after", "query", TEXT)
            )
        },
        "/api/entities/{entity}/{id}": {
            "get": operation(OF_ENTITY, OF_ROW),
            "patch": operation(OF_ENTITY, OF_ROW, body=EITHER_BODY),
            "delete": operation(OF_ENTITY, OF_ROW),
        },
        "/api/sync/pull": {"get": operation(parameter("since", "query", NUMBER))},
        "/api/auth/me": {"get": operation(parameter("authorization", "header", TEXT))},
        "/api/auth/session": {
            "post": operation(body={"type": "object", "properties": {"user_id": ANYTHING}}),
            "get": operation(),
        },
        "/api/auth/guest": {"post": operation(body=ANYTHING)},
        "/api/auth/refresh": {"post": operation(body=ANYTHING)},
        "/api/auth/upgrade": {"post": operation(body=ANYTHING)},
        "/api/auth/sessions/{id}": {"delete": operation(OF_ROW)},
        "/api/manifest": {"get": operation(parameter("full", "query", TEXT))},
        "/health": {"get": operation()},
    },
}

schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_a_server_error(case: Case[Any], server: Server) -> None:
    headers = {} if "Authorization" in (case.headers or {}) else bearer(ADMIN_TOKEN)
    answer = case.call(base_url=server.url, headers=headers)
    assert answer.status_code in STATUSES, answer.content
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["code"].isupper()
        assert error["message"]
