"""Whatever writes is asked of the owner: a service whose store refuses to write does all that one
in a single process does. That nothing was tried is asserted by `two` at its end."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import httpx
import pytest
from loro import ExportMode, LoroDoc

from pylon import limits
from pylon.codec import encode
from pylon.http.describe import Docs
from pylon.wire.crdt_frames import SNAPSHOT, UPDATE, DocumentFrame, read_document_frame
from tests.assembly.two import WAIT_SECONDS, One, two
from tests.crdt.people import PAGES
from tests.server import ADMIN_TOKEN

LINES = {"content-type": "application/x-ndjson"}


async def made(one: One, **data: Any) -> str:
    async with one.client() as admin:
        answer = await admin.post("/api/entities/Page", json=data)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def frame(socket: Any, kind: int) -> DocumentFrame:
    while True:
        message = await asyncio.wait_for(socket.recv(), WAIT_SECONDS)
        found = read_document_frame(message) if isinstance(message, bytes) else None
        if found is not None and found.type == kind:
            return found


# --- all that the house has ------------------------------------------------------------------


async def test_no_route_of_a_process_that_does_not_own_the_database_writes() -> None:
    """Those that say so cross; the others, and those that read a body as it comes, must not write
    here. A refused unit answers 500."""
    async with two(PAGES) as (_, second, _):
        routes = [each for each in second.house.router.routes() if isinstance(each.docs, Docs)]
        assert len(routes) > 30
        page = await made(second, title="a")
        for route in routes:
            names = {"entity": "Page", "id": page}
            path = route.pattern.replace("*}", "}").format_map(defaultdict(lambda: "x", names))
            content = None if route.method == "GET" else b"{}"
            for token in (await second.token_of("ann"), ADMIN_TOKEN):
                async with (
                    second.client(token) as client,
                    client.stream(route.method, path, content=content) as answer,
                ):
                    assert answer.status_code < 500, (route.pattern, await answer.aread())


async def test_no_work_of_every_process_writes() -> None:
    async with two(PAGES) as (_, second, _):
        token = await second.token_of("ann")
        async with second.client(token) as ann:
            await ann.get("/api/sync/pull")
        done = 0
        for part in second.house.parts:
            for work in part.periodic(second.house):
                if work.runs_in == "every process":
                    await work.work()
                    done += 1
        assert done >= 3


# --- each of them, with what it does ---------------------------------------------------------


async def test_rows_are_written_in_every_way() -> None:
    async with two(PAGES) as (first, second, _):
        page = await made(second, title="a")
        token = await second.token_of("ann")
        async with second.client(token) as ann, second.client() as admin:
            answer = await ann.patch(f"/api/entities/Page/{page}", json={"n": 1})
            assert answer.status_code == 200, answer.text
            change = {"kind": "update", "entity": "Page", "row_id": page, "data": {"n": 2}}
            answer = await ann.post("/api/sync/push", json={"client_id": "c", "changes": [change]})
            assert answer.json()["applied"] == 1
            line = b'{"entity":"Page","row":{"title":"b","n":3}}\n'
            answer = await admin.post("/api/import", content=line, headers=LINES)
            assert answer.status_code == 200, answer.text
            assert answer.json()["imported"] == 1, answer.text
        async with first.client() as admin:
            rows = (await admin.get("/api/entities/Page/cursor")).json()["data"]
        assert sorted((row["title"], row["n"]) for row in rows) == [("a", 2), ("b", 3)]


async def test_a_new_reader_begins_where_the_database_is() -> None:
    async with two(PAGES) as (first, second, _):
        page = await made(first, title="a")
        token = await first.token_of("ann")
        async with second.client(token) as ann, first.client(token) as elsewhere:
            answer = await ann.get("/api/sync/pull?since=0")
            assert answer.status_code == 200, answer.text
            assert [each["row_id"] for each in answer.json()["changes"]] == [page]
            (known,) = second.house.epochs._cache.values()
            assert first.house.epochs._cache == {known.reader: known}
            since = answer.json()["cursor"]["last_seq"]
            assert (await elsewhere.get(f"/api/sync/pull?since={since}")).status_code == 200


async def test_when_a_session_was_seen_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_SEEN_SECONDS", -10)  # all that is asked is noted
    async with two(PAGES) as (first, second, _):
        token = await first.token_of("ann")
        await _forget_when_seen(first)
        async with second.client(token) as ann:
            for _ in range(2):  # the first request reads it, the second finds it in memory
                await ann.get("/api/auth/me")
        await second.house.sessions.save_last_seen()
        (session,) = await first.house.sessions.list_for_user("ann")
        assert session.last_seen_at > 0


async def _forget_when_seen(one: One) -> None:
    async def unit(tx: Any) -> None:
        await tx.execute("UPDATE _pylon_sessions SET last_seen_at = 0")

    await one.house.store.write(unit)


async def test_a_document_is_followed_and_edited() -> None:
    """Its first snapshot makes the document, which is a write."""
    async with two(PAGES) as (first, second, _):
        page = await made(first, body="hello")
        ann, bob = await first.token_of("ann"), await first.token_of("bob")
        said = encode({"type": "crdt-subscribe", "entity": "Page", "rowId": page}).decode()
        async with second.socket(ann) as here, first.socket(bob) as there:
            docs = LoroDoc(), LoroDoc()
            for socket, doc in zip((here, there), docs, strict=True):
                await socket.send(said)
                doc.import_((await frame(socket, SNAPSHOT)).payload)
            async with second.client(ann) as editor:
                answer = await _edit(editor, page, docs[0], " you")
                assert answer.json() == {"ok": True}, answer.text
            docs[1].import_((await frame(there, UPDATE)).payload)
            assert _body_of(docs[1]) == "hello you"
            async with first.client(bob) as editor:
                assert (await _edit(editor, page, docs[1], " all")).status_code == 200
            while _body_of(docs[0]) != "hello you all":
                docs[0].import_((await frame(here, UPDATE)).payload)


async def _edit(editor: httpx.AsyncClient, page: str, doc: LoroDoc, text: str) -> httpx.Response:
    before = doc.oplog_vv
    body: Any = doc.get_map("row").get("body")
    body.container.insert(len(_body_of(doc)), text)
    doc.commit()
    update = doc.export(ExportMode.Updates(before))
    return await editor.post(f"/api/crdt/Page/{page}", json={"update": update.hex()})


def _body_of(doc: LoroDoc) -> str:
    value: Any = doc.get_deep_value()
    return str(value["row"]["body"])
