"""The live doors of the real program: who gets in, who is told what, in which order, how it ends
(spec 03 sections 4 and 6, design 5)."""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from pylon import codec
from tests.blackbox.streams import (
    Event,
    SocketStream,
    Stream,
    event_source,
    position,
    pull,
    until,
    until_row,
    websocket,
)
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, ORIGIN, Server, bearer, serving

COOKIE = "blackbox_session"


async def mark(client: httpx.AsyncClient, **data: Any) -> str:
    """Write a row that everybody may see."""
    answer = await client.post("/api/entities/Mark", json=data)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


async def put(client: httpx.AsyncClient, entity: str, **data: Any) -> str:
    answer = await client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


async def patch(client: httpx.AsyncClient, entity: str, row_id: str, **data: Any) -> None:
    answer = await client.patch(f"/api/entities/{entity}/{row_id}", json=data)
    assert answer.status_code == 200, answer.text


async def is_closed(socket: SocketStream) -> tuple[int | None, str | None]:
    """Close code and reason, once the server has closed it."""
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.socket.recv(), 60)
    return socket.socket.close_code, socket.socket.close_reason


async def refusal_of(opening: AbstractAsyncContextManager[object]) -> int:
    """The HTTP status that a handshake is answered with."""
    try:
        async with opening:
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


# --- who gets in -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "own_door"),
    [("/ws", False), ("/", False), ("/ws?since=0", False), ("/", True), ("/any/path", True)],
)
async def test_every_websocket_door_hears(server: Server, path: str, own_door: bool) -> None:
    token = server.token_of("ann")
    url = server.ws_url(path, own_door=own_door)
    async with (
        server.async_client(token) as client,
        connect(url, additional_headers=bearer(token), proxy=None) as socket,
    ):
        row_id = await mark(client, n=1)
        event = (await until(SocketStream(socket), lambda e: e["row_id"] == row_id))[-1]
        assert {**event, "seq": 0, "timestamp": ""} == {
            "seq": 0,
            "entity": "Mark",
            "row_id": row_id,
            "kind": "insert",
            "data": {"id": row_id, "n": 1, "text": None},
            "timestamp": "",
        }


@pytest.mark.parametrize("own_door", [False, True])
async def test_every_door_of_server_sent_events_hears(server: Server, own_door: bool) -> None:
    since = await position(server)
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        event_source(server, server.token_of("ann"), since=since, own_door=own_door) as ann,
        event_source(server, None, since=since, is_public=True, own_door=own_door) as nobody,
    ):
        note = await put(client, "Note", ownerId="ann", secret="s")
        last = await mark(client)
        for stream, heard in ((ann, [note]), (nobody, [])):
            events = await until_row(stream, last)
            assert [event["row_id"] for event in events] == heard
            assert all("secret" not in event["data"] for event in events)


async def test_a_path_that_is_no_websocket_is_404(server: Server) -> None:
    for path in ("/api/entities/Mark", "/wss", "/events", "/nowhere"):
        assert await refusal_of(connect(server.ws_url(path), proxy=None)) == 404


async def test_a_token_as_a_subprotocol_is_echoed_byte_for_byte(server: Server) -> None:
    token = server.token_of("ann")
    for entry in (f"bearer.{token}", "bearer." + "".join(f"%{ord(c):02x}" for c in token)):
        offered = [Subprotocol("other"), Subprotocol(entry), Subprotocol("bearer.wrong")]
        since = await position(server)
        url = server.ws_url(f"/ws?since={since}")
        async with (
            server.async_client(token) as client,
            connect(url, subprotocols=offered, proxy=None) as socket,
        ):
            assert socket.subprotocol == entry
            note = await put(client, "Note", ownerId="ann")
            assert (await SocketStream(socket).next())["row_id"] == note


async def test_a_header_wins_over_a_subprotocol(server: Server) -> None:
    offered = [Subprotocol(f"bearer.{quote('no such token')}")]
    since = await position(server)
    async with connect(
        server.ws_url(f"/ws?since={since}"),
        subprotocols=offered,
        additional_headers=bearer(server.token_of("ann")),
        proxy=None,
    ) as socket:
        assert socket.subprotocol == offered[0]
        async with server.async_client(ADMIN_TOKEN) as client:
            row_id = await mark(client)
        assert (await SocketStream(socket).next())["row_id"] == row_id


@pytest.mark.parametrize("origin", [ORIGIN, "own", None])
async def test_a_cookie_counts_from_a_page_of_ours(server: Server, origin: str | None) -> None:
    headers = {"cookie": f"a=b; {COOKIE}={server.token_of('ann')}"}
    if origin is not None:
        headers["origin"] = server.url if origin == "own" else origin
    since = await position(server)
    url = server.ws_url(f"/ws?since={since}")
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        connect(url, additional_headers=headers, proxy=None) as socket,
    ):
        note = await put(client, "Note", ownerId="ann")
        assert (await SocketStream(socket).next())["row_id"] == note


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "bearer {token}"},
        {"cookie": "blackbox_session=wrong"},
        {"cookie": "other={token}"},
        {"authorization": "Bearer wrong", "cookie": "blackbox_session={token}"},
        {"sec-websocket-protocol": "bearer.wrong"},
        {"sec-websocket-protocol": "bearer."},
        {"sec-websocket-protocol": "{token}"},
    ],
)
@pytest.mark.parametrize("own_door", [False, True])
async def test_nobody_is_closed_with_1008(
    server: Server, headers: dict[str, str], own_door: bool
) -> None:
    token = server.token_of("ann")
    sent = {name: value.replace("{token}", token) for name, value in headers.items()}
    offered = sent.pop("sec-websocket-protocol", None)
    subprotocols = None if offered is None else [Subprotocol(offered)]
    url = server.ws_url("/ws", own_door=own_door)
    async with connect(
        url, additional_headers=sent, subprotocols=subprotocols, proxy=None
    ) as socket:
        closed = await is_closed(SocketStream(socket))
        assert closed == (1008, "unauthorized: bearer token required")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example"])
async def test_a_cookie_from_a_foreign_page_is_refused(server: Server, origin: str) -> None:
    headers = {"cookie": f"{COOKIE}={server.token_of('ann')}", "origin": origin}
    for own_door in (False, True):
        url = server.ws_url(own_door=own_door)
        assert await refusal_of(connect(url, additional_headers=headers, proxy=None)) == 403


async def test_what_clients_send_is_survived(server: Server) -> None:
    token = server.token_of("ann")
    since = await position(server)
    async with (
        server.async_client(token) as client,
        websocket(server, token, since=since) as stream,
    ):
        for message in ("", "x", "[]", "{}", '{"type":1}', '{"type":"nonsense"}', b"\x00\xff", b""):
            await stream.socket.send(message)
        await (await stream.socket.ping())
        row_id = await mark(client)
        assert (await stream.next())["row_id"] == row_id


async def test_a_message_beyond_the_bound_is_1009(server: Server) -> None:
    async with websocket(server, server.token_of("ann")) as stream:
        with suppress(ConnectionClosed):
            await stream.socket.send("x" * 1_100_000)
        assert (await is_closed(stream))[0] == 1009


# --- who is told what ------------------------------------------------------------------------


async def test_rows_come_into_sight_and_go_out_of_it(server: Server) -> None:
    since = await position(server)
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, server.token_of("ann"), since=since) as ann,
        websocket(server, server.token_of("bob"), since=since) as bob,
        event_source(server, None, since=since, is_public=True) as nobody,
        websocket(server, ADMIN_TOKEN, since=since) as admin,
    ):
        row_id = await put(client, "Note", text="a", ownerId="ann", secret="s")
        await patch(client, "Note", row_id, text="b")
        await patch(client, "Note", row_id, secret="t")
        await patch(client, "Note", row_id, ownerId="bob")
        await patch(client, "Note", row_id, public=True, text="c")
        await patch(client, "Note", row_id, public=False)
        await patch(client, "Note", row_id, ownerId=None)
        await patch(client, "Note", row_id, ownerId="ann")
        assert (await client.delete(f"/api/entities/Note/{row_id}")).status_code == 200
        last = await mark(client)

        def row(**shown: Any) -> dict[str, Any]:
            return {"id": row_id, "public": None, **shown}

        expected: list[tuple[Stream, list[tuple[int, str, Any]]]] = [
            (
                ann,
                [
                    (1, "insert", row(text="a", ownerId="ann")),
                    (2, "update", {"text": "b"}),
                    (4, "delete", None),
                    (5, "insert", row(text="c", ownerId="bob", public=True)),
                    (6, "delete", None),
                    (8, "insert", row(text="c", ownerId="ann", public=False)),
                    (9, "delete", None),
                ],
            ),
            (
                bob,
                [
                    (4, "insert", row(text="b", ownerId="bob")),
                    (5, "update", {"public": True, "text": "c"}),
                    (6, "update", {"public": False}),
                    (7, "delete", None),
                ],
            ),
            (
                nobody,
                [
                    (5, "insert", row(text="c", ownerId="bob", public=True)),
                    (6, "delete", None),
                ],
            ),
            (
                admin,
                [
                    (1, "insert", row(text="a", ownerId="ann", secret="s")),
                    (2, "update", {"text": "b"}),
                    (3, "update", {"secret": "t"}),
                    (4, "update", {"ownerId": "bob"}),
                    (5, "update", {"public": True, "text": "c"}),
                    (6, "update", {"public": False}),
                    (7, "update", {"ownerId": None}),
                    (8, "update", {"ownerId": "ann"}),
                    (9, "delete", None),
                ],
            ),
        ]
        for stream, told in expected:
            events = await until_row(stream, last)
            assert [
                (event["seq"] - since, event["kind"], event.get("data")) for event in events
            ] == told
            assert all("data" not in e for e in events if e["kind"] == "delete")


async def test_a_stream_begins_where_it_is_told(server: Server) -> None:
    token = server.token_of("ann")
    since = await position(server)
    async with server.async_client(ADMIN_TOKEN) as client:
        first = await mark(client, n=1)
        gone = await mark(client, n=2)
        await client.delete(f"/api/entities/Mark/{gone}")
        async with (
            websocket(server, token, since=since) as socket,
            event_source(server, token, since=since) as source,
            event_source(server, token, last_event_id=since) as resumed,
        ):
            last = await mark(client, n=3)
            for stream in (socket, source, resumed):
                events = await until(stream, lambda event: event["row_id"] == last)
                assert [event["seq"] for event in events] == sorted(e["seq"] for e in events)
                assert [event["row_id"] for event in events if event["kind"] == "insert"] == [
                    first,
                    last,
                ]


async def test_a_cursor_of_another_life_is_sent_back_to_pull(server: Server) -> None:
    since = await position(server) + 1_000_000
    async with websocket(server, server.token_of("ann"), since=since) as stream:
        assert await is_closed(stream) == (1013, "resync required")
    answer = await server_pull(server, since)
    assert answer.status_code == 410


async def server_pull(server: Server, since: int) -> httpx.Response:
    async with server.async_client(ADMIN_TOKEN) as client:
        return await client.get("/api/sync/pull", params={"since": since})


async def test_a_stream_whose_query_cannot_be_read_is_refused(server: Server) -> None:
    query = "&".join(f"a{number}=1" for number in range(300))
    url = server.ws_url(f"/ws?{query}")
    headers = bearer(server.token_of("ann"))
    assert await refusal_of(connect(url, additional_headers=headers, proxy=None)) == 400
    async with server.async_client() as client:
        answer = await client.get(f"/events?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_QUERY")


async def test_the_official_clients_order_loses_nothing(server: Server) -> None:
    """It pulls, then connects without a word of its cursor; what is written between must come."""
    token = server.token_of("cleo")
    async with server.async_client(token) as cleo, server.async_client(ADMIN_TOKEN) as client:
        _, cursor = await pull(cleo, 0)
        between = [await mark(client, n=n) for n in range(5)]
        changed = between[0]
        await patch(client, "Mark", changed, text="changed")
        async with websocket(server, token) as stream:
            last = await mark(client, n=9)
            events = await until(stream, lambda event: event["row_id"] == last)
        new = [event for event in events if event["seq"] > cursor]
        rows: dict[str, dict[str, Any]] = {}
        for event in new:
            rows[event["row_id"]] = {**rows.get(event["row_id"], {}), **event["data"]}
        assert set(rows) == {*between, last}
        assert rows[changed]["text"] == "changed"


@pytest.mark.parametrize("sign", [{"origin": ORIGIN}, {"sec-fetch-site": "same-origin"}, {}])
async def test_a_page_or_a_program_that_reopens_its_stream_is_not_led_past_a_private_row(
    server: Server, sign: dict[str, str]
) -> None:
    """A browser reopens an EventSource by itself, with the id of the last event it had."""
    token = server.token_of("pam")
    async with (
        server.async_client(token) as pam,
        server.async_client(ADMIN_TOKEN) as client,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as page,
    ):
        await mark(client)
        _, cursor = await pull(pam, 0)
        await put(client, "Mine", ownerId="pam")
        shown = await mark(client)
        headers = {**sign, "last-event-id": str(cursor)}
        answer = await page.get(f"{server.sse_url}/events", headers=headers)
        assert answer.status_code == 200
        assert shown not in answer.text, "ended instead, so that the page pulls"
        _, cursor = await pull(pam, cursor)
        headers["last-event-id"] = str(cursor)
        async with page.stream("GET", f"{server.sse_url}/events", headers=headers) as stream:
            after = await mark(client)
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    assert codec.decode(line[6:])["row_id"] == after
                    break


# --- order -----------------------------------------------------------------------------------


async def test_many_readers_hear_many_writers_in_order_without_a_gap(server: Server) -> None:
    since = await position(server)
    writers, early, late, each = 8, 14, 6, 40
    total = writers * each + 1
    token = server.token_of("ann")
    joined: asyncio.Queue[int] = asyncio.Queue()
    halfway = asyncio.Event()

    async def write(number: int) -> None:
        async with server.async_client(ADMIN_TOKEN) as client:
            row_id = await mark(client, n=number, text="0")
            for count in range(1, each):
                await patch(client, "Mark", row_id, text=str(count))
                if count == each // 2:
                    halfway.set()

    async def read(number: int) -> list[Event]:
        opened: Any = (
            websocket(server, token, since=since, own_door=number % 4 == 1)
            if number % 2
            else event_source(server, token, since=since)
        )
        async with opened as stream:
            joined.put_nowait(number)
            return await until(stream, lambda event: event["data"].get("text") == "the end")

    readers = [asyncio.create_task(read(number)) for number in range(early)]
    for _ in readers:
        await joined.get()
    writing = [asyncio.create_task(write(number)) for number in range(writers)]
    await halfway.wait()
    readers += [asyncio.create_task(read(early + number)) for number in range(late)]
    await asyncio.gather(*writing)
    async with server.async_client(ADMIN_TOKEN) as client:
        await mark(client, text="the end")
    for number, events in enumerate(await asyncio.gather(*readers)):
        seqs = [event["seq"] for event in events]
        assert seqs == sorted(set(seqs)), "in order, none twice"
        assert seqs[-1] == since + total
        if number < early:
            assert len(seqs) == total, "without a gap"
        # A reader that joined in the midst heard the latest change of each row, then all of them.
        final = {event["row_id"]: event["data"]["text"] for event in events}
        assert sorted(final.values()) == sorted([str(each - 1)] * writers + ["the end"])


async def test_compressed_or_not_readers_hear_the_same(server: Server) -> None:
    since = await position(server)
    sizes = [1, 2_000, 600, 30, 511, 512, 70_000, 1_100_000, 300]
    token = server.token_of("ann")
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, token, since=since) as plain,
        websocket(server, token, since=since, compressed=True) as packed,
        websocket(server, ADMIN_TOKEN, since=since, compressed=True) as admin,
    ):
        assert not plain.socket.protocol.extensions
        assert packed.socket.protocol.extensions
        for number, size in enumerate(sizes):
            await mark(client, n=number, text="tägliches " * (size // 10))
        last = len(sizes) - 1
        heard = [
            await until(each, lambda event: event["data"]["n"] == last)
            for each in (plain, packed, admin)
        ]
        assert [event["data"]["n"] for event in heard[0]] == list(range(len(sizes)))
        assert heard[0] == heard[1] == heard[2]
    async with websocket(server, token, since=since, compressed=True) as late:
        replayed = await until(late, lambda event: event["data"]["n"] == last)
        assert [event["data"] for event in replayed] == [event["data"] for event in heard[0]]


async def test_compression_can_be_switched_off(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "off.db", env={"PYLON_WS_COMPRESSION": "0"}) as server:
        async with websocket(server, ADMIN_TOKEN, compressed=True) as stream:
            assert not stream.socket.protocol.extensions


# --- how it ends -----------------------------------------------------------------------------


async def test_a_slow_reader_is_closed_and_the_others_hear_all(server: Server) -> None:
    since = await position(server)
    token = server.token_of("ann")
    small = sockets.socket()
    small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", server.port))
    text = "x" * 1_000_000
    count = 16
    async with (
        server.async_client(ADMIN_TOKEN) as client,
        websocket(server, token, since=since) as quick,
        event_source(server, token, since=since) as source,
        connect(
            server.ws_url(f"/ws?since={since}"),
            sock=small,
            additional_headers=bearer(token),
            proxy=None,
            max_size=None,
            max_queue=1,
            compression=None,
        ) as slow,
    ):
        reading = [
            asyncio.create_task(until(s, lambda event: event["data"]["n"] == count - 1))
            for s in (quick, source)
        ]
        for number in range(count):
            await mark(client, n=number, text=text)
        for task in reading:
            assert [event["data"]["n"] for event in await task] == list(range(count))
        heard: list[int] = []
        with suppress(ConnectionClosed):
            while True:
                heard.append((await SocketStream(slow).next())["data"]["n"])
        assert slow.close_code == 1013
        assert heard == list(range(len(heard))), "closed, but never skipped"
        assert len(heard) < count


@pytest.mark.parametrize("path", ["/api/auth/session", "/api/auth/sessions"])
async def test_signing_out_closes_its_streams(server: Server, path: str) -> None:
    token, other = server.token_of("dora"), server.token_of("ann")
    since = await position(server)
    async with (
        server.async_client(token) as dora,
        websocket(server, token, since=since) as socket,
        websocket(server, token, since=since, own_door=True) as second,
        event_source(server, token, since=since) as source,
        websocket(server, other, since=since) as stays,
    ):
        row_id = await mark(dora)
        for stream in (socket, second, source, stays):
            assert (await stream.next())["row_id"] == row_id
        assert (await dora.delete(path)).status_code == 200
        for closed in (socket, second):
            assert await is_closed(closed) == (1008, "session ended")
        with pytest.raises(EOFError):
            await source.next()
        async with server.async_client(ADMIN_TOKEN) as client:
            after = await mark(client)
        assert (await stays.next())["row_id"] == after


async def test_who_asks_for_another_session_connects_anew(server: Server) -> None:
    """A page that goes on with it would otherwise keep the socket of the user before."""
    token, other = server.token_of("fay"), server.token_of("fay")
    now = await position(server)
    async with (
        server.async_client(token) as fay,
        websocket(server, token, since=now) as socket,
        websocket(server, other, since=now) as stays,
    ):
        assert (await fay.post("/api/auth/guest")).status_code == 201
        assert await is_closed(socket) == (1013, "pull required")
        row_id = await mark(fay)
        assert (await stays.next())["row_id"] == row_id
        assert (await fay.get("/api/auth/me")).json()["user_id"] == "fay", "both go on"


async def test_a_stop_closes_with_1001(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        token = server.token_of("ann")
        async with (
            websocket(server, token) as main,
            websocket(server, token, own_door=True) as door,
            event_source(server, token) as source,
        ):
            async with server.async_client(token) as client:
                row_id = await mark(client)
                for stream in (main, door, source):
                    await until(stream, lambda event: event["row_id"] == row_id)
            stopping = asyncio.get_running_loop().run_in_executor(None, server.stop)
            for socket in (main, door):
                assert (await is_closed(socket))[0] == 1001
            with pytest.raises(EOFError):
                await source.next()
            await stopping


async def test_streams_per_address_may_be_unbounded(tmp_path: Path) -> None:
    env = {"PYLON_SOCKETS_PER_ADDRESS": "0"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server:
        async with websocket(server, server.token_of("ann"), since=0) as stream:
            async with server.async_client(ADMIN_TOKEN) as client:
                row_id = await mark(client)
            assert (await stream.next())["row_id"] == row_id


async def test_streams_per_address_are_bounded(tmp_path: Path) -> None:
    env = {"PYLON_SOCKETS_PER_ADDRESS": "2"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server:
        token = server.token_of("ann")
        async with websocket(server, token) as first, event_source(server, token):
            assert await refusal_of(websocket(server, token)) == 429
            async with server.async_client(token) as client:
                for _ in range(3):
                    assert (await client.head("/events")).status_code in (405, 429)
                answer = await client.get("/events")
                assert answer.status_code == 429
                row_id = await mark(client)
            assert (await until(first, lambda e: e["row_id"] == row_id))[-1]["kind"] == "insert"
        # A HEAD opens nothing and so takes no place.
        async with server.async_client(token) as client:
            for _ in range(3):
                assert (await client.head("/events")).status_code in (200, 405)
        # A place is free again once its stream has ended.
        async with websocket(server, token, since=0) as stream:
            assert (await stream.next())["row_id"] == row_id
