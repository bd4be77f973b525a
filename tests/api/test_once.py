"""`Idempotency-Key`: a write that is repeated is done once, whatever became of its first answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from pylon.api.once import read_key
from pylon.clock import ManualClock
from pylon.data.once import OnceKeys
from pylon.errors import PylonError
from pylon.http.describe import Docs
from pylon.http.request import Request
from tests.api.test_bulk import delete, ids, insert, new, update
from tests.assembly.two import two
from tests.crdt.people import PAGES
from tests.server import ADMIN_TOKEN, Server, serving

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("once")
    with serving(Path(__file__).with_name("bulk_app.py"), folder / "app.db") as running:
        yield running


def ask(
    client: httpx.Client, method: str, path: str, key: str | None, body: Any = None
) -> httpx.Response:
    headers = {} if key is None else {HEADER: key}
    return client.request(method, path, json=body, headers=headers)


def test_a_repeated_insert_makes_one_row(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as client:
        before = ids(client, "Comment")
        answers = [
            ask(client, "POST", "/api/entities/Comment", key, {"text": "once"})
            for key in ('"k 1"', '"k 1"', '"k 1"')
        ]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert [answer.headers.get(REPLAYED) for answer in answers] == [None, "true", "true"]
        assert ids(client, "Comment") - before == {answers[0].json()["id"]}
        other = ask(client, "POST", "/api/entities/Comment", '"k 2"', {"text": "once"})
        assert other.json()["id"] != answers[0].json()["id"]


def test_a_repeated_update_or_delete_changes_nothing_more(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as client:
        row = f"/api/entities/Comment/{new(client, 'Comment', text='a')}"
        assert ask(client, "PATCH", row, "p", {"text": "b"}).json() == {"updated": True}
        client.patch(row, json={"text": "c"})
        assert ask(client, "PATCH", row, "p", {"text": "b"}).json() == {"updated": True}
        assert client.get(row).json()["text"] == "c", "whoever came later has not been undone"
        assert ask(client, "DELETE", row, "d").json() == {"deleted": True}
        assert ask(client, "DELETE", row, "d").json() == {"deleted": True}
        assert ask(client, "DELETE", row, "e").status_code == 404


def test_a_repeated_bulk_request_answers_as_it_did(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as client:
        row_id = new(client, "Comment", text="a")
        absent = "a" * 40
        operations = [
            insert("Comment", text="1"),
            update("Comment", row_id, text="2"),
            delete("Comment", absent),
            insert("Comment", text="3"),
        ]
        bodies: tuple[tuple[str, Any], ...] = (
            ("/api/transact", operations),
            ("/api/batch", {"operations": operations}),
        )
        for path, body in bodies:
            first, again = (ask(client, "POST", path, f"bulk{path}", body) for _ in range(2))
            assert (first.status_code, first.content) == (again.status_code, again.content)
            assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
        texts = [row["text"] for row in client.get("/api/entities/Comment").json()["data"]]
        assert (texts.count("1"), texts.count("3")) == (2, 2)
        todo, person = new(client, "Todo", title="t"), new(client, "Person", name="p")
        link = {"entity": "Todo", "id": todo, "relation": "person", "target_id": person}
        for path, done in (("/api/link", {"linked": True}), ("/api/unlink", {"unlinked": True})):
            assert [ask(client, "POST", path, path, link).json() for _ in range(2)] == [done] * 2


def test_what_failed_is_tried_again(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as client:
        taken = new(client, "Todo", title="t", rank=901)
        body = {"title": "u", "rank": 901}
        assert ask(client, "POST", "/api/entities/Todo", "again", body).status_code == 400
        client.patch(f"/api/entities/Todo/{taken}", json={"rank": None})
        answer = ask(client, "POST", "/api/entities/Todo", "again", body)
        assert (answer.status_code, answer.headers.get(REPLAYED)) == (201, None)

        operations = [insert("Comment", text="batch"), insert("Todo", title="v", rank=901)]
        batch = {"operations": operations}
        first = ask(client, "POST", "/api/batch", "half", batch).json()
        assert (first["succeeded"], first["failed"]) == (1, 1)
        client.delete(f"/api/entities/Todo/{answer.json()['id']}")
        again = ask(client, "POST", "/api/batch", "half", batch)
        assert (again.json()["succeeded"], again.headers.get(REPLAYED)) == (2, None)
        assert again.json()["results"][0]["id"] == first["results"][0]["id"]


def test_a_key_is_for_one_request_of_one_caller(server: Server) -> None:
    path = "/api/entities/Comment"
    with server.client(ADMIN_TOKEN) as client, server.client(server.token_of("ann")) as ann:
        first = ask(client, "POST", path, "mine", {"text": "a"})
        for method, where, body in (
            ("POST", path, {"text": "b"}),
            ("POST", f"{path}?x=1", {"text": "a"}),
            ("PATCH", f"{path}/{first.json()['id']}", {"text": "a"}),
        ):
            answer = ask(client, method, where, "mine", body)
            assert answer.status_code == 422
            assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
        other = ask(ann, "POST", path, "mine", {"text": "a"})
        assert other.status_code == 201
        assert other.json()["id"] != first.json()["id"]
        with server.client(server.token_of("ann")) as again:
            same = ask(again, "POST", path, "mine", {"text": "a"})
            assert same.json()["id"] == other.json()["id"], "in all its sessions"


def scope_of(*values: bytes) -> dict[str, Any]:
    return {"path": "/", "headers": [(b"idempotency-key", value) for value in values]}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'"a"', "a"),
        (b"a", "a"),
        (b' "a b" ', "a b"),
        (b'"a\\"\\\\b"', 'a"\\b'),
        (b"x" * 255, "x" * 255),
    ],
)
def test_keys(value: bytes, key: str) -> None:
    assert read_key(Request(scope_of(value), None)) == key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        (b"",),
        (b'""',),
        (b'"a',),
        (b'a"b',),
        (b'"a"; q=1',),
        (b"a, b",),
        (b"a b",),
        (b'"a\\x"',),
        ("ü".encode(),),
        (b"x" * 256,),
        (b'"a"', b'"a"'),
    ],
)
def test_malformed_keys(values: tuple[bytes, ...]) -> None:
    with pytest.raises(PylonError) as refused:
        read_key(Request(scope_of(*values), None))  # type: ignore[arg-type]
    assert (refused.value.status, refused.value.code) == (400, "IDEMPOTENCY_KEY_INVALID")


def test_an_import_refuses_a_key(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as client:
        answer = ask(client, "POST", "/api/import", "k", {"Comment": []})
        assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_UNSUPPORTED"


# --- inside one process ----------------------------------------------------------------------


async def test_a_key_in_use_waits_for_its_end_and_old_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked of a process that does not own the database: the key crosses with the request."""
    async with two(PAGES) as (first, second, _), second.client() as admin:
        assert second.house is not None
        routes = second.house.router.routes()
        takes = [each for each in routes if isinstance(each.docs, Docs) and each.docs.takes_key]
        assert len(takes) == 7
        path, headers, body = "/api/entities/Page", {HEADER: "k"}, {"title": "a"}
        made = [await admin.post(path, json=body, headers=headers) for _ in range(2)]
        assert made[0].json() == made[1].json()
        assert made[1].headers[REPLAYED] == "true"

        keys = first.house.once_keys
        keys._in_use.add(("=__admin__", "k"))
        answer = await admin.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")
        assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_IN_USE"
        keys._in_use.clear()

        for number in range(5):
            await admin.post(path, json={"title": f"n{number}"}, headers={HEADER: f"n{number}"})
        monkeypatch.setattr(limits, "ONCE_PER_CALLER_MAX", 4)
        await keys.purge()
        count = "SELECT count(*) FROM _pylon_once"
        assert await first.house.store.read(count) == [(4,)]
        monkeypatch.setattr(limits, "ONCE_MAX", 3)
        await keys.purge()
        assert await first.house.store.read(count) == [(3,)]
        clock = ManualClock()
        clock.at = first.house.clock.now() + limits.ONCE_SECONDS + 10
        assert await OnceKeys(first.house.store, clock).erase("nobody") == 0
        await OnceKeys(first.house.store, clock).purge()
        assert await first.house.store.read(count) == [(0,)]
