"""What newer official clients send and expect beside what older ones do (spec 09)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from pylon import codec
from tests.blackbox.streams import position, pull
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, bearer, serving

SEQ = "x-pylon-change-seq"
REJECTED = "x-pylon-bearer-rejected"
HEX = "0123456789abcdef0123456789abcdef01234567"


def change(kind: str, row_id: str, op_id: str, **data: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"entity": "Mine", "row_id": row_id, "kind": kind, "op_id": op_id}
    return {**found, "data": data} if data else found


async def push(client: httpx.AsyncClient, *changes: dict[str, Any]) -> httpx.Response:
    answer = await client.post("/api/sync/push", json={"changes": list(changes)})
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_socket_of_the_main_port_with_its_token_as_a_subprotocol(server: Server) -> None:
    token = server.token_of("ann")
    entry = Subprotocol(f"bearer.{quote(token, safe='')}")
    async with (
        server.async_client(ADMIN_TOKEN) as admin,
        connect(server.ws_url("/api/sync/ws"), subprotocols=[entry], proxy=None) as socket,
    ):
        assert socket.subprotocol == entry
        await socket.send('{"type":"ping"}')
        assert await said(socket, "pong") == {"type": "pong"}
        made = await admin.post("/api/entities/Mine", json={"text": "a", "ownerId": "ann"})
        async with asyncio.timeout(60):
            while codec.decode(await socket.recv()).get("row_id") != made.json()["id"]:
                pass


async def said(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (message := codec.decode(await socket.recv())).get("type") != kind:
            pass
    found: dict[str, Any] = message
    return found


async def test_what_is_not_there_yet_is_refused_in_its_own_shape(server: Server) -> None:
    url = server.ws_url("/api/sync/ws")
    async with connect(
        url, additional_headers=bearer(server.token_of("ann")), proxy=None
    ) as socket:
        await socket.send('{"type":"room-subscribe","room":"r1"}')
        refused = await said(socket, "error")
        assert (refused["code"], refused["room"]) == ("NOT_SUPPORTED", "r1")
        await socket.send('{"type":"reactive-subscribe","sub_id":"s1","fn_name":"f","args":{}}')
        refused = await said(socket, "reactive-error")
        assert (refused["code"], refused["sub_id"]) == ("NOT_SUPPORTED", "s1")
        for ignored in (
            '{"type":"room-subscribe"}',
            '{"type":"room-unsubscribe","room":"r1"}',
            '{"type":"reactive-unsubscribe","sub_id":"s1"}',
            '{"type":"reactive-subscribe","sub_id":"%s"}' % ("x" * 2_000),
        ):
            await socket.send(ignored)
        await socket.send('{"type":"ping"}')
        async with asyncio.timeout(60):
            assert codec.decode(await socket.recv()) == {"type": "pong"}, "and nothing before"


async def test_a_push_tells_what_became_of_each_change(server: Server) -> None:
    async with server.async_client(server.token_of("pia")) as pia:
        first = change("insert", HEX, "op1", id=HEX, text="a", ownerId="pia")
        answer = await push(pia, first)
        (result,) = answer.json()["results"]
        seq = int(answer.headers[SEQ])
        assert result == {
            "op_id": "op1",
            "row_id": HEX,
            "entity": "Mine",
            "kind": "insert",
            "status": "applied",
            "seq": seq,
        }
        assert (await pia.get(f"/api/entities/Mine/{HEX}")).json()["text"] == "a", "it is kept"
        answer = await push(
            pia,
            first,
            change("update", HEX, "op2", text="b"),
            change("delete", "nothing", "op3"),
            change("delete", HEX, "op4"),
        )
        body = answer.json()
        assert (body["applied"], body["deduped"], len(body["errors"])) == (2, 1, 1)
        assert [each["status"] for each in body["results"]] == [
            *("replayed", "applied", "error", "pending")
        ]
        assert [each["op_id"] for each in body["results"]] == ["op1", "op2", "op3", "op4"]
        assert body["results"][1]["seq"] == int(answer.headers[SEQ]) > seq
        refused = body["results"][2]["error"]
        assert refused == {"code": "NOT_FOUND", "message": "No such row in Mine."}
        assert SEQ not in (await push(pia, first)).headers, "nothing was changed"


async def test_a_write_tells_where_its_change_is(server: Server) -> None:
    async with server.async_client(ADMIN_TOKEN) as admin:

        async def told(method: str, path: str, body: Any = None) -> int:
            before = await position(server)
            answer = await admin.request(method, path, json=body)
            assert answer.status_code < 300, answer.text
            seq = int(answer.headers[SEQ])
            assert seq > before
            return seq

        made = await admin.post("/api/entities/Mark", json={"n": 1})
        row_id, seq = made.json()["id"], int(made.headers[SEQ])
        events, _ = await pull(admin, seq - 1)
        assert (seq, row_id) in [(each["seq"], each["row_id"]) for each in events]
        row = f"/api/entities/Mark/{row_id}"
        assert await told("PATCH", row, {"n": 2}) > seq
        insert = {"op": "insert", "entity": "Mark", "data": {"n": 3}}
        await told("POST", "/api/transact", [insert, insert])
        await told("POST", "/api/batch", {"operations": [insert]})
        await told("DELETE", row)
        assert SEQ not in (await admin.delete(row)).headers
        key = {"Idempotency-Key": '"told-once"'}
        once, again = [
            await admin.post("/api/entities/Mark", json={"n": 4}, headers=key) for _ in range(2)
        ]
        assert int(once.headers[SEQ]) > seq
        assert SEQ not in again.headers, "it was done before"
        assert SEQ not in (await admin.get("/api/entities/Mark")).headers


async def test_a_bearer_that_is_nobodys_is_told_so(server: Server) -> None:
    for token, status in (("nonsense", 200), ("pylon_" + "0" * 64, 200)):
        async with server.async_client(token) as nobody:
            for path in ("/api/auth/me", "/api/sync/pull?since=0"):
                answer = await nobody.get(path)
                assert (answer.status_code, answer.headers.get(REJECTED)) == (status, "1")
            refused = await nobody.post("/api/sync/push", json={"changes": []})
            assert (refused.status_code, refused.headers.get(REJECTED)) == (403, "1")
    for good in (None, server.token_of("ann"), ADMIN_TOKEN):
        async with server.async_client(good) as somebody:
            assert REJECTED not in (await somebody.get("/api/auth/me")).headers


@pytest.mark.parametrize("path", ["Nothing/cursor", "Nothing/cursor?limit=100&after="])
async def test_a_page_of_an_entity_that_is_not_there_is_404(server: Server, path: str) -> None:
    async with server.async_client(server.token_of("ann")) as ann:
        assert (await ann.get(f"/api/entities/{path}")).status_code == 404


async def test_a_first_state_in_pages_by_what_the_page_before_gave(server: Server) -> None:
    async with server.async_client(ADMIN_TOKEN) as admin:
        operations = [{"op": "insert", "entity": "Mark", "data": {"n": n}} for n in range(900)]
        for _ in range(2):
            await admin.post("/api/transact", json=operations)
        path, after, rows = "/api/sync/pull?since=0&snapshot_after=", "", 0
        while True:
            page = (await admin.get(path + after)).json()
            rows += len(page["changes"])
            if not page["has_more"]:
                break
            assert page["snapshot_after"] != after
            after = page["snapshot_after"]
        assert rows >= 1_800
        assert "snapshot_after" not in page
        refused = await admin.get(path + HEX)
        assert refused.json()["error"]["code"] == "INVALID_QUERY", "not the first page for ever"
        assert "snapshot_after" not in (await admin.get("/api/sync/pull?since=0")).json()


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:3000"])
async def test_a_page_of_this_machine_in_dev_sends_its_cookie(tmp_path: Path, origin: str) -> None:
    """By `credentials: "include"`, which a browser allows only where the origin is named."""
    with serving(BLACKBOX_APP, tmp_path / "app.db", env={"PYLON_DEV_MODE": "1"}) as server:
        async with server.async_client() as page:
            asked = {"access-control-request-method": "POST", "origin": origin}
            answers = [await page.options("/api/sync/push", headers=asked)]
            answers.append(await page.post("/api/auth/guest", headers={"origin": origin}))
            cookie = answers[-1].headers["set-cookie"].split(";")[0]
            headers = {"origin": origin, "cookie": cookie}
            answers.append(await page.get("/api/auth/me", headers=headers))
            assert answers[-1].json()["is_guest"]
            body = {"changes": [change("insert", HEX, "op", id=HEX, text="a")]}
            answers.append(await page.post("/api/sync/push", json=body, headers=headers))
            assert answers[-1].status_code == 200
            answers.append(await page.get("/api/nothing", headers=headers))
            for answer in answers:
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["access-control-allow-credentials"] == "true"
                shown = answer.headers["access-control-expose-headers"].lower()
                assert SEQ in shown
                assert REJECTED in shown
