"""`/api/transact`, `/api/batch`, `/api/link` and `/api/unlink` against the real program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.blackbox.streams import position, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, serving

Row = dict[str, Any]
ABSENT = "a" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        Path(__file__).with_name("bulk_app.py"), tmp_path_factory.mktemp("bulk") / "app.db"
    ) as running:
        yield running


def insert(entity: str, **data: Any) -> Row:
    return {"op": "insert", "entity": entity, "data": data}


def update(entity: str, row_id: str, **data: Any) -> Row:
    return {"op": "update", "entity": entity, "id": row_id, "data": data}


def delete(entity: str, row_id: str) -> Row:
    return {"op": "delete", "entity": entity, "id": row_id}


def new(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    row_id = answer.json()["id"]
    assert isinstance(row_id, str)
    return row_id


def get(client: httpx.Client, entity: str, row_id: str) -> Row | None:
    answer = client.get(f"/api/entities/{entity}/{row_id}")
    if answer.status_code == 404:
        return None
    row: Row = answer.json()
    return row


def ids(client: httpx.Client, entity: str) -> set[str]:
    return {row["id"] for row in client.get(f"/api/entities/{entity}").json()["data"]}


# --- transact --------------------------------------------------------------------------------


def test_all_operations_are_done_in_order(ann: httpx.Client) -> None:
    chosen = "0" * 31 + "1" + "0" * 8
    answer = ann.post(
        "/api/transact",
        json=[
            insert("Todo", id=chosen, title="one"),
            update("Todo", chosen, title="two"),
            insert("Todo", title="shout"),
            delete("Todo", chosen),
        ],
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["committed"] is True
    shouted = body["results"][2]["id"]
    assert body["results"] == [
        {"op": "insert", "id": chosen},
        {"op": "update", "id": chosen},
        {"op": "insert", "id": shouted},
        {"op": "delete", "id": chosen},
    ]
    assert get(ann, "Todo", chosen) is None
    row = get(ann, "Todo", shouted)
    assert row is not None
    assert row["title"] == "SHOUT"


def test_a_failure_in_the_middle_undoes_everything(ann: httpx.Client, admin: httpx.Client) -> None:
    kept = new(ann, "Todo", title="kept", rank=1)
    before = ids(admin, "Todo")
    answer = ann.post(
        "/api/transact",
        json={
            "operations": [
                insert("Todo", title="a"),
                update("Todo", kept, title="changed"),
                insert("Todo", title="clash", rank=1),
                insert("Todo", title="never reached"),
            ]
        },
    )
    assert answer.status_code == 400
    body = answer.json()
    assert body["committed"] is False
    assert body["failed_at"] == 2
    assert [line["op"] for line in body["results"]] == ["insert", "update", "insert"]
    assert body["results"][2]["code"] == "INSERT_FAILED"
    assert "id" not in body["results"][2]
    assert ids(admin, "Todo") == before
    row = get(ann, "Todo", kept)
    assert row is not None
    assert row["title"] == "kept"


@pytest.mark.parametrize(
    ("operation", "error", "code"),
    [
        ({"op": "merge", "entity": "Todo"}, "unknown operation", "INVALID_OPERATION"),
        ("insert", "an operation must be a JSON object", "INVALID_OPERATION"),
        ({"op": "insert", "entity": 3}, "entity must be a string", "INVALID_OPERATION"),
        (
            {"op": "insert", "entity": "Todo", "data": [1]},
            "The data must be a JSON object.",
            "INVALID_DATA",
        ),
    ],
)
def test_a_malformed_operation_is_refused_before_any_runs(
    ann: httpx.Client, operation: object, error: str, code: str
) -> None:
    before = ids(ann, "Todo")
    answer = ann.post("/api/transact", json=[insert("Todo", title="x"), operation])
    assert answer.status_code == 400
    body = answer.json()
    assert (body["committed"], body["failed_at"]) == (False, 1)
    assert (body["results"][-1]["error"], body["results"][-1]["code"]) == (error, code)
    assert ids(ann, "Todo") == before


def test_policies_hold_for_each_operation(ann: httpx.Client, bob: httpx.Client) -> None:
    anns = new(ann, "Todo", title="ann's")
    mine = new(bob, "Todo", title="bob's")
    as_ann = bob.post(
        "/api/transact",
        json=[update("Todo", mine, title="x"), insert("Todo", title="y", ownerId="ann")],
    )
    assert as_ann.status_code == 403
    assert as_ann.json()["results"][-1]["code"] == "POLICY_DENIED"
    row = get(bob, "Todo", mine)
    assert row is not None
    assert row["title"] == "bob's"
    # A hidden row is answered like one that is not there, and stays as it is.
    for row_id in (anns, ABSENT):
        hidden = bob.post("/api/transact", json=[delete("Todo", row_id)])
        assert hidden.status_code == 200
        assert hidden.json()["results"] == [{"op": "delete", "id": row_id, "changed": False}]
    assert get(ann, "Todo", anns) is not None


def test_a_missing_row_is_a_failure_where_the_caller_says_so(ann: httpx.Client) -> None:
    operations = [insert("Todo", title="strict"), update("Todo", ABSENT, title="x")]
    lax = ann.post("/api/transact", json={"operations": operations})
    assert lax.status_code == 200
    assert lax.json()["results"][1] == {"op": "update", "id": ABSENT, "changed": False}
    before = ids(ann, "Todo")
    for body in ({"strict": 1}, {"strikt": True}, {"strict": None}):
        misspelt = ann.post("/api/transact", json={"operations": operations, **body})
        assert misspelt.json()["error"]["code"] == "INVALID_JSON"
    strict = ann.post("/api/transact", json={"operations": operations, "strict": True})
    assert strict.status_code == 404
    assert strict.json()["results"][1]["code"] == "NOT_FOUND"
    assert ids(ann, "Todo") == before


@pytest.mark.parametrize("body", ["7", '"x"', "{}", '{"operations": 1}', "[", ""])
def test_transact_takes_an_array(ann: httpx.Client, body: str) -> None:
    answer = ann.post("/api/transact", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


def test_the_number_of_operations_is_bounded(ann: httpx.Client) -> None:
    too_many = [delete("Todo", ABSENT)] * (limits.TRANSACT_OPERATIONS_MAX + 1)
    answer = ann.post("/api/transact", json=too_many)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_MANY_OPERATIONS")
    too_many = [{}] * (limits.BATCH_OPERATIONS_MAX + 1)
    answer = ann.post("/api/batch", json={"operations": too_many})
    assert answer.status_code == 413


def test_nothing_at_all_is_committed_too(nobody: httpx.Client) -> None:
    answer = nobody.post("/api/transact", json=[])
    assert answer.json() == {"committed": True, "results": []}


def test_anonymous_callers_are_held_by_policies(nobody: httpx.Client) -> None:
    denied = nobody.post("/api/transact", json=[insert("Todo", title="x")])
    assert denied.status_code == 403
    allowed = nobody.post("/api/transact", json=[insert("Comment", text="hello")])
    assert allowed.status_code == 200


# --- batch -----------------------------------------------------------------------------------


def test_each_operation_of_a_batch_stands_alone(ann: httpx.Client) -> None:
    row_id = new(ann, "Todo", title="a")
    taken = new(ann, "Todo", title="b", rank=77)
    answer = ann.post(
        "/api/batch",
        json={
            "operations": [
                insert("Todo", title="c"),
                insert("Todo", title="d", rank=77),
                update("Todo", row_id, title="a2"),
                update("Todo", ABSENT, title="x"),
                {"op": "merge"},
                insert("Nope", x=1),
                delete("Todo", taken),
                insert("Todo", title="e", rank=77),
            ]
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    assert (body["succeeded"], body["failed"]) == (5, 3)
    results = body["results"]
    assert [line["ok"] for line in results] == [True, False, True, True, False, False, True, True]
    assert results[1]["code"] == "INSERT_FAILED"
    assert "id" not in results[1]
    assert results[3] == {"op": "update", "id": ABSENT, "ok": True, "changed": False}
    assert (results[4]["op"], results[4]["error"]) == ("merge", "unknown operation")
    assert results[5]["code"] == "ENTITY_NOT_FOUND"
    row = get(ann, "Todo", row_id)
    assert row is not None
    assert row["title"] == "a2"


def test_a_batch_shares_commits(ann: httpx.Client, admin: httpx.Client) -> None:
    def commits() -> float:
        lines = admin.get("/metrics", headers={"accept": "text/plain"}).text.splitlines()
        (value,) = [line for line in lines if line.startswith("pylon_write_batches ")]
        return float(value.split()[1])

    before = commits()
    operations = [insert("Comment", text=str(n)) for n in range(200)]
    assert ann.post("/api/batch", json={"operations": operations}).json()["succeeded"] == 200
    assert commits() - before < 20


@pytest.mark.parametrize("body", [[], {}, {"operations": {}}, 7])
def test_a_batch_needs_operations(ann: httpx.Client, body: object) -> None:
    answer = ann.post("/api/batch", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MISSING_OPERATIONS")


# --- links -----------------------------------------------------------------------------------


def test_link_and_unlink(ann: httpx.Client, admin: httpx.Client) -> None:
    todo, person = new(ann, "Todo", title="t"), new(admin, "Person", name="p")
    link = {"entity": "Todo", "id": todo, "relation": "person", "target_id": person}
    answer = ann.post("/api/link", json=link)
    assert (answer.status_code, answer.json()) == (200, {"linked": True})
    row = get(ann, "Todo", todo)
    assert row is not None
    assert row["personId"] == person
    answer = ann.post("/api/unlink", json={k: v for k, v in link.items() if k != "target_id"})
    assert (answer.status_code, answer.json()) == (200, {"unlinked": True})
    row = get(ann, "Todo", todo)
    assert row is not None
    assert row["personId"] is None


def test_links_are_refused(ann: httpx.Client, bob: httpx.Client, admin: httpx.Client) -> None:
    todo, person = new(ann, "Todo", title="t"), new(admin, "Person", name="p")
    hidden = new(admin, "Person", name="h", hidden=True)
    link = {"entity": "Todo", "id": todo, "relation": "person", "target_id": person}
    for client, change, status, code in (
        (ann, {"target_id": ABSENT}, 404, "NOT_FOUND"),
        (ann, {"target_id": hidden}, 404, "NOT_FOUND"),
        (ann, {"target_id": 7}, 404, "NOT_FOUND"),
        (ann, {"relation": "friend"}, 400, "RELATION_NOT_FOUND"),
        (ann, {"entity": "Nope"}, 400, "ENTITY_NOT_FOUND"),
        (ann, {"id": ABSENT}, 404, "NOT_FOUND"),
        (bob, {}, 404, "NOT_FOUND"),
    ):
        answer = client.post("/api/link", json={**link, **change})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), change
    row = get(ann, "Todo", todo)
    assert row is not None
    assert row["personId"] is None


def test_a_to_many_link_changes_the_target(ann: httpx.Client, bob: httpx.Client) -> None:
    todo, comment = new(ann, "Todo", title="t"), new(ann, "Comment", text="c")
    link = {"entity": "Todo", "id": todo, "relation": "comments", "target_id": comment}
    assert bob.post("/api/link", json=link).status_code == 404
    assert ann.post("/api/unlink", json=link).status_code == 404
    for route, key in (("link", todo), ("unlink", None)):
        assert ann.post(f"/api/{route}", json=link).status_code == 200
        row = get(ann, "Comment", comment)
        assert row is not None
        assert row["todoId"] == key


def test_links_inside_a_transaction(ann: httpx.Client, admin: httpx.Client) -> None:
    todo, person = "0" * 39 + "b", "0" * 39 + "c"
    link = {"op": "link", "entity": "Todo", "id": todo, "relation": "person"}
    answer = ann.post(
        "/api/transact",
        json=[
            insert("Person", id=person, name="p"),
            insert("Todo", id=todo, title="t"),
            {**link, "target_id": person},
        ],
    )
    assert answer.json()["results"][2] == {"op": "link", "id": todo}
    row = get(ann, "Todo", todo)
    assert row is not None
    assert row["personId"] == person
    failed = ann.post(
        "/api/transact", json=[insert("Person", name="q"), {**link, "target_id": ABSENT}]
    )
    assert failed.status_code == 404


# --- live ------------------------------------------------------------------------------------


async def end(client: httpx.AsyncClient) -> str:
    """A row that everybody sees, after which nothing else can come."""
    answer = await client.post("/api/entities/Comment", json={"text": "end"})
    row_id = answer.json()["id"]
    assert isinstance(row_id, str)
    return row_id


async def test_readers_hear_of_every_route(server: Server, ann: httpx.Client) -> None:
    person = new(ann, "Person", name="p")
    token = server.token_of("ann")
    todo, other = "0" * 39 + "d", "0" * 39 + "e"
    link = {"entity": "Todo", "id": todo, "relation": "person", "target_id": person}
    batch = [insert("Todo", id=other, title="o"), delete("Todo", other)]
    async with (
        websocket(server, token, since=await position(server)) as socket,
        server.async_client(token) as client,
    ):
        for path, body in (
            ("transact", [insert("Todo", id=todo, title="t"), {"op": "nope"}]),
            ("transact", [insert("Todo", id=todo, title="t")]),
            ("transact", [insert("Todo", title="u"), insert("Todo", id=todo)]),
            ("batch", {"operations": batch}),
            ("link", link),
            ("unlink", link),
        ):
            await client.post(f"/api/{path}", json=body)
        events = await until_row(socket, await end(client))
    assert [(event["kind"], event["row_id"]) for event in events] == [
        ("insert", todo),
        ("insert", other),
        ("delete", other),
        ("update", todo),
        ("update", todo),
    ]
    assert [event["data"] for event in events[3:]] == [{"personId": person}, {"personId": None}]


async def test_others_hear_nothing_of_hidden_rows(server: Server) -> None:
    async with (
        websocket(server, server.token_of("bob"), since=await position(server)) as socket,
        server.async_client(server.token_of("ann")) as client,
    ):
        await client.post("/api/transact", json=[insert("Todo", title="secret")])
        assert await until_row(socket, await end(client)) == []


def test_the_administrator_passes_policies(server: Server, ann: httpx.Client) -> None:
    todo = new(ann, "Todo", title="t")
    with server.client(ADMIN_TOKEN) as admin:
        answer = admin.post("/api/transact", json=[update("Todo", todo, secret="s")])
    assert answer.status_code == 200
    row = get(ann, "Todo", todo)
    assert row is not None
    assert "secret" not in row
