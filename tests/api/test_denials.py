"""What a refusal by a policy tells: in dev the rule, what failed and why; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon.data.errors import DENIED_HINT
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).with_name("denial_app.py")
DEV = {"PYLON_DEV_MODE": "1", "PYLON_ALLOW_UNSAFE": ""}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("dev") / "app.db", env=DEV) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("strict") / "app.db") as server:
        yield server


def new(server: Server, **values: Any) -> str:
    with server.client(ADMIN_TOKEN) as admin:
        return str(admin.post("/api/entities/Note", json=values).json()["id"])


def hint(answer: httpx.Response, status: int = 403) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["hint"])


INSERT = (
    'Policy "Note" (allowInsert) says no to this insert: `auth.userId == data.ownerId` does not'
    ' hold, as auth.userId is "ann" and data.ownerId is "bob".'
)


def test_each_door_tells_the_rule_what_failed_and_what_it_saw(dev: Server) -> None:
    theirs = {"title": "t", "ownerId": "bob"}
    with dev.client(dev.token_of("ann")) as ann:
        assert hint(ann.post("/api/entities/Note", json=theirs)) == INSERT
        operation = {"op": "insert", "entity": "Note", "data": theirs}
        (line,) = ann.post("/api/batch", json={"operations": [operation]}).json()["results"]
        assert (line["code"], line["hint"]) == ("POLICY_DENIED", INSERT)
        body = ann.post("/api/transact", json=[operation]).json()
        assert body["results"][0]["hint"] == INSERT
        change = {"entity": "Note", "row_id": "_pending_1", "kind": "insert", "data": theirs}
        answer = ann.post("/api/sync/push", json={"changes": [change]}).json()
        assert answer["errors"] == [f"insert Note: Access denied by policy. {INSERT}"]


def test_all_that_failed_is_told_and_nothing_else(dev: Server) -> None:
    mine = new(dev, title="t", ownerId="ann", locked=True)
    with dev.client(dev.token_of("ann")) as ann:
        assert hint(ann.patch(f"/api/entities/Note/{mine}", json={"title": "u"})) == (
            'Policy "Note" (allowUpdate) says no to this update: `!data.locked` does not hold, as'
            " data.locked is true."
        )
        both = {"title": "forbidden", "ownerId": "bob"}
        told = hint(ann.post("/api/entities/Note", json=both))
        assert '`data.title != "forbidden"` does not hold, as data.title is "forbidden".' in told
        assert "`auth.userId == data.ownerId`" in told
        assert "hasRole" in hint(ann.delete(f"/api/entities/Note/{mine}"))
        link = {"entity": "Note", "id": mine, "relation": "parent", "target_id": mine}
        assert "`!data.locked`" in hint(ann.post("/api/link", json=link))


def test_a_row_that_is_hidden_is_told_of(dev: Server) -> None:
    hidden = new(dev, title="t", orgId="o", ownerId="bob")
    path = f"/api/entities/Note/{hidden}"
    with dev.client(dev.token_of("ann")) as ann:
        for answer in (ann.get(path), ann.patch(path, json={"title": "u"})):
            told = hint(answer, 404)
            assert told.startswith("The row is there, but hidden from this caller. Policy")
            assert "`exists(Member, orgId == data.orgId && userId == auth.userId)`" in told
            assert 'data.orgId is "o"' in told
        absent = ann.get(f"/api/entities/Note/{'0' * 40}").json()["error"]
        assert "hint" not in absent


def test_what_no_row_could_change_is_told_by_the_caller_alone(dev: Server) -> None:
    with dev.client() as nobody, dev.client(dev.token_of("ann")) as ann:
        closed = (
            'Policy "Closed" (allow) says no to this {}: `auth.hasRole("editor")` does not hold'
        )
        assert hint(ann.get("/api/entities/Closed")).startswith(closed.format("read"))
        assert hint(ann.post("/api/query", json={"Closed": {}})).startswith(closed.format("read"))
        assert hint(ann.post("/api/entities/Closed", json={"n": 1})).startswith(
            closed.format("insert")
        )
        told = hint(nobody.get("/api/entities/Note"))
        assert told.endswith("The caller is not signed in.")
        assert "data.ownerId is" not in told
        told = hint(nobody.post("/api/search/Note", json={"query": "t"}))
        assert told.endswith("The caller is not signed in.")


def test_actions_tell_what_they_saw(dev: Server) -> None:
    with dev.client(dev.token_of("ann")) as ann:
        assert hint(ann.post("/api/actions/clear", json={"name": "bob"})) == (
            'Policy "clear" (allow) says no to this action: `input.name == auth.userId` does not'
            ' hold, as input.name is "bob" and auth.userId is "ann".'
        )


def test_values_are_cut_and_private_ones_kept(dev: Server) -> None:
    with dev.client(dev.token_of("ann")) as ann, dev.client(ADMIN_TOKEN) as admin:
        long = hint(ann.post("/api/entities/Note", json={"title": "t", "ownerId": "x" * 5000}))
        assert len(long) < 400
        row = admin.post("/api/entities/Secret", json={"code": "very secret"}).json()["id"]
        told = hint(ann.patch(f"/api/entities/Secret/{row}", json={}), 403)
        assert "data.code is private" in told
    assert "very secret" not in dev.stderr()


def test_production_tells_nothing_at_any_door(strict: Server) -> None:
    hidden = new(strict, title="t", ownerId="bob")
    theirs = {"title": "t", "ownerId": "bob"}
    with strict.client(strict.token_of("ann")) as ann:
        assert hint(ann.post("/api/entities/Note", json=theirs)) == DENIED_HINT
        assert hint(ann.get("/api/entities/Closed")) == DENIED_HINT
        assert hint(ann.post("/api/actions/clear", json={"name": "bob"})) == DENIED_HINT
        operation = {"op": "insert", "entity": "Note", "data": theirs}
        (line,) = ann.post("/api/batch", json={"operations": [operation]}).json()["results"]
        assert set(line) == {"op", "ok", "error", "code"}
        change = {"entity": "Note", "row_id": "_pending_1", "kind": "insert", "data": theirs}
        answer = ann.post("/api/sync/push", json={"changes": [change]}).json()
        assert answer["errors"] == ["insert Note: Access denied by policy"]
        for answer in (
            ann.get(f"/api/entities/Note/{hidden}"),
            ann.patch(f"/api/entities/Note/{hidden}", json={"title": "u"}),
        ):
            assert answer.status_code == 404
            assert "hint" not in answer.json()["error"]
    assert '"bob"' not in strict.stderr()


UNKNOWN_TOKEN = "A token was sent, and it is not valid:"
NO_BEARER = "An Authorization header was sent, and it does not count:"


@pytest.mark.parametrize(
    ("header", "value", "fault"),
    [
        ("authorization", "Bearer wrong", UNKNOWN_TOKEN),
        ("authorization", f"Bearer {'x' * 43}", UNKNOWN_TOKEN),
        ("cookie", "denials_session=gone", UNKNOWN_TOKEN),
        ("authorization", "abc", NO_BEARER),
        ("authorization", f"bearer {ADMIN_TOKEN}", NO_BEARER),
        ("authorization", "Basic YTpi", NO_BEARER),
    ],
)
def test_a_token_that_does_not_count_is_told_of_in_dev(
    dev: Server, strict: Server, header: str, value: str, fault: str
) -> None:
    insert = {"entity": "Note", "row_id": "n1", "kind": "insert", "data": {"title": "t"}}
    asked: list[tuple[int, str, str, Any]] = [
        (403, "GET", "/api/entities/Note", None),
        (403, "POST", "/api/entities/Note", {"title": "t", "ownerId": "bob"}),
        (403, "POST", "/api/search/Note", {"query": "t"}),
        (403, "POST", "/api/actions/clear", {"name": "bob"}),
        (403, "POST", "/api/sync/push", {"changes": [insert]}),
        (403, "DELETE", "/api/admin/users/bob/purge", None),
        (401, "GET", "/api/auth/sessions", None),
        (401, "POST", "/api/auth/pair", {}),
    ]
    for server in (dev, strict):
        with httpx.Client(base_url=server.url, headers={header: value}) as nobody:
            assert nobody.get("/api/auth/me").json()["user_id"] is None
            for status, method, path, body in asked:
                origin = {"origin": server.url}
                answer = nobody.request(method, path, json=body, headers=origin)
                assert answer.status_code == status, answer.text
                assert (fault in str(answer.json()["error"].get("hint"))) is (server is dev), path


def test_without_a_token_nothing_is_said_of_one(dev: Server) -> None:
    with dev.client() as nobody:
        assert "was sent" not in hint(nobody.get("/api/entities/Note"))


def test_dev_mode_that_lets_others_in_tells_nothing(tmp_path: Path) -> None:
    env = {**DEV, "PYLON_DEV_ALLOW_REMOTE": "1"}
    with serving(APP, tmp_path / "app.db", env=env) as server, server.client() as nobody:
        assert hint(nobody.get("/api/entities/Closed")) == DENIED_HINT
