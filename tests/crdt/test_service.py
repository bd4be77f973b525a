"""Documents over HTTP and WebSocket, against the real program."""

# The server is another process, so these tests may wait for it as they like.
# ruff: noqa: ASYNC212

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from pylon.codec import decode_trusted
from tests.crdt.editors import SNAPSHOT, UPDATE, editing
from tests.server import ADMIN_TOKEN, Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = Path(__file__).parent / "app.py"
    with serving(app, tmp_path_factory.mktemp("documents") / "app.db") as running:
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(ADMIN_TOKEN) as client:
        yield client


@pytest.fixture
def ann(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.token_of("ann")) as client:
        yield client


def make(admin: httpx.Client, **data: Any) -> str:
    answer = admin.post("/api/entities/Page", json=data)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


# --- the route -------------------------------------------------------------------------------


def test_checks_in_order(server: Server, admin: httpx.Client, ann: httpx.Client) -> None:
    page = make(admin, body="hello")
    path = f"/api/crdt/Page/{page}"
    with server.client() as nobody:
        refused(nobody.post("/api/crdt/", content=b"{"), 401, "AUTH_REQUIRED")
        refused(nobody.post(path, content=b"{"), 401, "AUTH_REQUIRED")
    refused(ann.post("/api/crdt/Page", content=b"{"), 400, "BAD_PATH")
    refused(ann.post("/api/crdt/Page/", content=b"{"), 400, "BAD_PATH")
    refused(ann.post(path, content=b"{"), 400, "INVALID_JSON")
    bodies: list[Any] = [{}, {"update": 7}, {"update": None}, [], "00"]
    for body in bodies:
        refused(ann.post(path, json=body), 400, "MISSING_UPDATE")
    for text in ("0", "zz", "00 00", "é0", "0x00"):
        refused(ann.post(path, json={"update": text}), 400, "INVALID_HEX")
    refused(ann.post("/api/crdt/Nope/x", json={"update": "00"}), 404, "ENTITY_NOT_FOUND")
    refused(ann.post("/api/crdt/Page/nope", json={"update": "00"}), 404, "NOT_FOUND")
    bobs = make(admin, ownerId="bob")
    refused(ann.post(f"/api/crdt/Page/{bobs}", json={"update": "00"}), 404, "NOT_FOUND")
    plain = admin.post("/api/entities/Plain", json={}).json()["id"]
    refused(ann.post(f"/api/crdt/Plain/{plain}", json={"update": "00"}), 400, "NOT_SUPPORTED")
    for text in ("", "00FF", "6c6f726f"):
        refused(ann.post(path, json={"update": text}), 400, "CRDT_DECODE_FAILED")
    huge = "00" * (limits.DOCUMENT_UPDATE_BYTES_MAX + 1)
    refused(ann.post(path, json={"update": huge}), 413, "PAYLOAD_TOO_LARGE")
    assert ann.get(path).status_code == 405


async def test_an_edit_reaches_rest_events_and_other_editors(
    server: Server, admin: httpx.Client
) -> None:
    page = make(admin, body="hello", title="edit", n=7)
    async with editing(server, "ann") as one, editing(server, "bob") as two:
        for editor in (one, two):
            await editor.subscribe(page)
            await editor.until_frame(SNAPSHOT)
            assert editor.row["body"] == "hello"
        one.text().insert(5, " world")
        answer = await one.push(page)
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        await two.until_text("hello world")
        assert two.kinds[-1] == UPDATE
        event = two.events[-1]
        assert (event["kind"], event["data"]) == ("update", {"body": "hello world"})
        row = admin.get(f"/api/entities/Page/{page}").json()
        assert (row["body"], row["n"]) == ("hello world", 7)
        assert isinstance(row["n"], int)
        # A writer over REST is heard as an update too.
        admin.patch(f"/api/entities/Page/{page}", json={"body": "hello you", "likes": 4})
        for editor in (one, two):
            await editor.until_text("hello you")
            assert editor.kinds[-1] == UPDATE
            assert editor.root().to_string() == "hello you"
            assert editor.row["likes"] == 4


async def test_frames_keep_their_place_among_events(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="")
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)
        del one.kinds[:]
        for i in range(20):
            admin.patch(f"/api/entities/Page/{page}", json={"body": "x" * i + "y"})
        await one.until_text("x" * 19 + "y")
        assert one.kinds == [0, UPDATE] * 20


async def test_interest_in_a_row_to_come(server: Server, admin: httpx.Client) -> None:
    page = "01890000-0000-7000-8000-00000000abcd"
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        make(admin, id=page, ownerId="bob", body="secret")
        other = make(admin, body="x")
        await one.until_event(other)
        assert SNAPSHOT not in one.kinds
        admin.patch(f"/api/entities/Page/{page}", json={"ownerId": "ann"})
        await one.until_frame(SNAPSHOT)
        assert one.row["body"] == "secret"


async def test_a_hidden_row_is_no_longer_followed(server: Server, admin: httpx.Client) -> None:
    page = make(admin, ownerId="ann", body="ours")
    path = f"/api/entities/Page/{page}"
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)
        admin.patch(path, json={"ownerId": "bob"})
        admin.patch(path, json={"body": "theirs"})
        await one.until_event(make(admin, body="mark"))
        assert one.row["body"] == "ours"
        assert UPDATE not in one.kinds
        refused(await one.push(page), 404, "NOT_FOUND")
        admin.patch(path, json={"ownerId": None})
        await one.until_text("theirs")
        admin.delete(path)
        await one.until_event(page, "delete")


async def test_who_may_not_see_a_row_gets_nothing(server: Server, admin: httpx.Client) -> None:
    page = make(admin, ownerId="bob", body="private", secret="s")
    async with editing(server, "ann") as ann, editing(server, "bob") as bob:
        for editor in (ann, bob):
            await editor.subscribe(page)
            await editor.subscribe("x", entity="Nope")
            await editor.subscribe("x", entity="Plain")
            for odd in ({}, {"entity": "Page"}, {"entity": 1, "rowId": []}, {"row_id": page}):
                await editor.say("crdt-subscribe", **odd)
        await bob.until_frame(SNAPSHOT)
        assert "secret" not in bob.row
        admin.patch(f"/api/entities/Page/{page}", json={"body": "still", "secret": "t"})
        await bob.until_text("still")
        mark = make(admin, body="mark")
        await ann.until_event(mark)
        assert set(ann.kinds) == {0}


async def test_unsubscribed_rows_are_silent(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="a")
    async with editing(server, "ann") as one:
        await one.say("crdt-subscribe", entity="Page", row_id=page)
        await one.until_frame(SNAPSHOT)
        await one.say("crdt-unsubscribe", entity="Page", rowId=page)
        await one.subscribe(make(admin, body="b"))  # handled after it
        await one.until_frame(SNAPSHOT)
        admin.patch(f"/api/entities/Page/{page}", json={"body": "c"})
        await one.until_event(make(admin, body="mark"))
        assert UPDATE not in one.kinds


async def test_updates_out_of_order_wait_for_one_another(
    server: Server, admin: httpx.Client
) -> None:
    page = make(admin, body="")
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)
        updates = []
        for i in range(6):
            one.text().insert(i, str(i))
            updates.append(one.take_update())
        answers = await asyncio.gather(*(one.push(page, each) for each in reversed(updates)))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert admin.get(f"/api/entities/Page/{page}").json()["body"] == "012345"


async def test_malformed_messages_leave_the_connection(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="a")
    async with editing(server, "ann") as one:
        for text in ("", "{", "[]", "7", "null", '{"type":[]}', '{"type":"x"}', "[" * 5_000):
            await one.socket.send(text)
        await one.socket.send(b"\x11\x00\xff")
        await one.socket.send('{"type":"crdt-subscribe","x":"%s"}' % ("y" * 100_000))
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)


async def test_a_session_that_ends_ends_the_stream(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="a")
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)
        answer = await one.http.delete("/api/auth/session")
        assert answer.status_code == 200
        await one.socket.wait_closed()
        assert one.socket.close_code == 1008


async def test_documents_survive_a_kill(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="hello", tags=["a"])
    async with editing(server, "ann") as one:
        await one.subscribe(page)
        await one.until_frame(SNAPSHOT)
        one.text().insert(0, "1 ")
        assert (await one.push(page)).status_code == 200
        server.kill()
        server.start()
        one.text().insert(0, "0 ")
        assert (await one.push(page)).status_code == 200
    row = admin.get(f"/api/entities/Page/{page}").json()
    assert row["body"] == "0 1 hello"
    async with editing(server, "ann") as two:
        await two.subscribe(page)
        await two.until_frame(SNAPSHOT)
        assert two.row["body"] == two.root().to_string() == "0 1 hello"
        assert decode_trusted(row["tags"]) == two.row["tags"]
