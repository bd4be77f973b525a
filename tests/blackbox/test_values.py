"""Every value that is taken comes back the same, through every door: get, list, cursor, pull,
WebSocket and server-sent events."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.blackbox.streams import event_source, position, pull, until, websocket
from tests.server import ADMIN_TOKEN, Server

TEXTS = [
    "",
    " ",
    "plain",
    "\x00",
    "a\x00b",
    "\x00\x00",
    "\x1f\x7f\x80",
    '"\\/\b\f\n\r\t',
    "é ü ß",
    "e\u0301 is not \u00e9",
    "日本語",
    "🦄👩‍👩‍👧‍👦",
    "\U0010ffff\uffff\ufeff",
    "\u2028\u2029",
    "</script><!--",
    "data: x\n\nid: 1",
    "null",
    "'; DROP TABLE Sample; --",
    "x" * 100_000,
    "🦄" * 50_000,
]

SENT_AND_SHOWN: list[tuple[str, Any, Any]] = [
    *(("text", text, text) for text in TEXTS),
    *(("body", text, text) for text in TEXTS),
    *(
        ("number", n, n)
        for n in (0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63))
    ),
    ("number", 3.0, 3),
    ("number", -0.0, 0),
    ("number", 1e15, 10**15),
    *(
        ("ratio", x, x)
        for x in (
            0.0,
            1.5,
            -1.5,
            0.1 + 0.2,
            1 / 3,
            1e-7,
            5e-324,
            2.2250738585072014e-308,
            1.7976931348623157e308,
            -1.7976931348623157e308,
            123456789.123456789,
            1e21,
        )
    ),
    ("ratio", 4, 4.0),
    ("ratio", 2**63, float(2**63)),
    ("flag", True, True),
    ("flag", False, False),
    ("flag", 1, True),
    ("flag", 0, False),
    *(
        ("at", t, t)
        for t in (
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.123456+02:00",
            "2026-01-01",
            "2026-01-01 10:00",
            "1767225600Z",
        )
    ),
    ("link", "0" * 40, "0" * 40),
    ("link", "no such row", "no such row"),
]

FIELDS = ("text", "number", "ratio", "flag", "at", "body", "link")


def same(left: Any, right: Any) -> bool:
    """Equal and of one type, so that 1 is not true and 4 is not 4.0."""
    return type(left) is type(right) and left == right


async def test_every_value_comes_back_through_every_door(server: Server) -> None:
    cursor = await position(server)
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, ADMIN_TOKEN, since=cursor) as socket,
        event_source(server, ADMIN_TOKEN, since=cursor) as source,
    ):
        rows: dict[str, tuple[str, Any]] = {}
        for field, sent, shown in SENT_AND_SHOWN:
            answer = await client.post("/api/entities/Sample", json={field: sent})
            assert answer.status_code == 201, (field, sent, answer.text)
            rows[answer.json()["id"]] = (field, shown)
        last = next(reversed(rows))
        seen: dict[str, dict[str, dict[str, Any]]] = {
            "list": await listed(client),
            "cursor": await paged(client),
            "get": {row_id: (await got(client, row_id)) for row_id in rows},
            "pull": {e["row_id"]: e["data"] for e in (await pull(client, cursor))[0]},
        }
        for door, stream in (("websocket", socket), ("events", source)):
            events = await until(stream, lambda event: event["row_id"] == last)
            seen[door] = {event["row_id"]: event["data"] for event in events}
    wrong = [
        (door, row_id, field, shown if len(repr(shown)) < 99 else "...", row.get(field))
        for door, found in seen.items()
        for row_id, (field, shown) in rows.items()
        for row in [found[row_id]]
        if not same(row.get(field), shown)
        or any(row.get(other, "absent") is not None for other in FIELDS if other != field)
        or row["id"] != row_id
    ]
    assert wrong == []


async def listed(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await client.get("/api/entities/Sample")
    return {row["id"]: row for row in answer.json()["data"]}


async def paged(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    after = ""
    while True:
        answer = await client.get("/api/entities/Sample/cursor", params={"after": after})
        page = answer.json()
        rows.update({row["id"]: row for row in page["data"]})
        if not page["has_more"]:
            return rows
        after = page["next_cursor"]


async def got(client: httpx.AsyncClient, row_id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await client.get(f"/api/entities/Sample/{row_id}")).json()
    return row


async def test_an_update_carries_the_values_as_they_are_stored(server: Server) -> None:
    cursor = await position(server)
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, ADMIN_TOKEN, since=cursor) as socket,
    ):
        row_id = (await client.post("/api/entities/Sample", json={"text": "x"})).json()["id"]
        patch = {"flag": 1, "number": 2.0, "ratio": 3, "text": None, "id": "other"}
        answer = await client.patch(f"/api/entities/Sample/{row_id}", json=patch)
        assert answer.status_code == 200
        event = (await until(socket, lambda e: e["kind"] == "update"))[-1]
        assert event["row_id"] == row_id
        shown = {"flag": True, "number": 2, "ratio": 3.0, "text": None}
        assert event["data"] == shown
        assert all(same(event["data"][name], value) for name, value in shown.items())
        row = await got(client, row_id)
        assert all(same(row[name], value) for name, value in shown.items())


async def test_a_value_of_nine_megabytes(server: Server) -> None:
    """Bigger than any buffer on the way; the slow-reader bound does not cut a reader that reads."""
    text = "é" * 4_500_000
    cursor = await position(server)
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, ADMIN_TOKEN, since=cursor) as socket,
        event_source(server, ADMIN_TOKEN, since=cursor) as source,
    ):
        reading = [
            asyncio.create_task(until(stream, lambda event: event["kind"] == "delete"))
            for stream in (socket, source)
        ]
        body = f'{{"text":"{text}"}}'.encode()
        answer = await client.post("/api/entities/Mark", content=body)
        assert answer.status_code == 201, answer.text
        row_id = answer.json()["id"]
        assert (await client.get(f"/api/entities/Mark/{row_id}")).json()["text"] == text
        events, _ = await pull(client, cursor)
        assert [event["data"]["text"] == text for event in events] == [True]
        await client.delete(f"/api/entities/Mark/{row_id}")
        for stream in reading:
            inserted, deleted = await stream
            assert inserted["data"]["text"] == text
            assert deleted["row_id"] == row_id


@pytest.mark.parametrize("escape", [r"\ud83e\udd84", r"\u0000", r"\u00e9"])
def test_escapes_are_the_characters_they_name(admin: httpx.Client, escape: str) -> None:
    body = f'{{"text":"{escape}"}}'
    row_id = admin.post("/api/entities/Mark", content=body).json()["id"]
    named = (
        body.encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    )
    assert f'{{"text":"{admin.get(f"/api/entities/Mark/{row_id}").json()["text"]}"}}' == named
