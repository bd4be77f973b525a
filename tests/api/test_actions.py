"""Declared actions: the call is judged, nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, serving

APP = Path(__file__).parent / "contract_app.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("actions") / "db") as server:
        yield server


def test_a_call_is_answered_with_its_input_as_it_came(server: Server) -> None:
    with server.client(server.token_of("ann")) as ann:
        given = {"title": "x", "rank": None, "at": "2026-01-01", "more": [1]}
        answer = ann.post("/api/actions/publish", json=given)
        assert answer.json() == {"action": "publish", "input": given, "executed": True}


def test_what_is_missing_wrong_or_unknown_is_named(server: Server) -> None:
    with server.client(server.token_of("ann")) as ann:
        missing = ann.post("/api/actions/publish", json={}).json()["error"]
        assert "title" in missing["message"]
        assert missing["hint"] == "Required: title: string."
        for wrong in ({"rank": "1"}, {"rank": 1.5}, {"at": "soon"}):
            answer = ann.post("/api/actions/publish", json={"title": "x", **wrong})
            assert answer.json()["error"]["code"] == "INVALID_ARGS"
            assert next(iter(wrong)) in answer.json()["error"]["message"]
        unknown = ann.post("/api/actions/publsh", json={}).json()["error"]
        assert unknown["hint"] == 'Did you mean "publish"?'


def test_the_document_types_every_action(server: Server) -> None:
    with server.client() as anybody:
        paths = anybody.get("/api/openapi.json").json()["paths"]
    body = paths["/api/actions/publish"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["required"] == ["title"]
    assert paths["/api/actions/tidy"]["post"]["operationId"] == "executeTidy"
    assert "/api/actions/{name}" not in paths
