"""What operators are told of sync: the status, the same as metrics, and the page about both."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.blackbox.streams import SocketStream, event_source, position, until_row, websocket
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, serving

PAGE = Path(__file__).parents[2] / "docs" / "operating-sync.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pings every second, so that silence is noticed within a test."""
    path = tmp_path_factory.mktemp("status") / "app.db"
    with serving(BLACKBOX_APP, path, env={"PYLON_WS_PING_SECS": "1"}) as running:
        yield running


async def status_of(server: Server) -> dict[str, Any]:
    async with server.async_client(ADMIN_TOKEN) as admin:
        answer = await admin.get("/api/sync/status")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status


async def series(server: Server) -> dict[str, float]:
    """The samples of sync in Prometheus' format, by name and label."""
    async with server.async_client(ADMIN_TOKEN) as admin:
        answer = await admin.get("/metrics", headers={"accept": "text/plain"})
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if re.match("pylon_(live|document|presence|change)", sample.name)
    }


async def closed_for(server: Server, why: str) -> None:
    """Wait until one more stream has ended for this reason, as both doors tell."""
    async with asyncio.timeout(60):
        while not (await status_of(server))["closes"].get(why):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await series(server))[f"pylon_live_closes_total {why}"] >= 1


async def test_streams_and_deliveries_are_counted(server: Server) -> None:
    since = await position(server)
    before = await status_of(server)
    tokens = [server.token_of(user) for user in ("ann", "ann", "bob")]
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(server.async_client(ADMIN_TOKEN))
        streams: list[Any] = [
            await stack.enter_async_context(websocket(server, token, since=since))
            for token in tokens
        ]
        streams.append(await stack.enter_async_context(event_source(server, None, since=since)))
        row_id = (await admin.post("/api/entities/Mark", json={"n": 1})).json()["id"]
        for stream in streams:
            await until_row(stream, row_id)
        status = await status_of(server)
        assert status["streams"]["open"] == 4
        assert status["streams"]["by_door"] == {"main_ws": 3, "ws": 0, "main_sse": 1, "sse": 0}
        assert status["streams"]["audiences"] == 3
        assert status["deliveries"]["events"] - before["deliveries"]["events"] == 4
        assert status["deliveries"]["lag_p99_ms"] >= status["deliveries"]["lag_p50_ms"] > 0
        assert status["log"]["head_seq"] == since + 1
        samples = await series(server)
        assert samples["pylon_live_readers"] == 4
        assert samples["pylon_live_connections main_ws"] == 3
        assert samples["pylon_live_audiences"] == 3
        assert samples["pylon_live_deliveries_total"] >= 4
        assert samples["pylon_live_lag_seconds_count"] >= 1
        assert samples["pylon_live_backlog_bytes"] == 0
    await closed_for(server, "client")


async def test_how_streams_end_is_counted(server: Server) -> None:
    token = server.token_of("dora")

    async def silent(stream: SocketStream) -> None:
        stream.socket.transport.pause_reading()
        await closed_for(server, "silent")
        stream.socket.transport.abort()  # It does not read the end either.

    async def speaks(stream: SocketStream, frame: bytes) -> None:
        stream.socket.transport.write(frame)
        with suppress(ConnectionClosed):
            while True:
                await stream.next()

    for why, frame in (
        ("too_large", Frame(Opcode.TEXT, b"x" * 1_100_000).serialize(mask=True)),
        ("protocol", Frame(Opcode.CONT, b"x").serialize(mask=True)),
    ):
        async with websocket(server, token) as stream:
            await speaks(stream, frame)
        await closed_for(server, why)
    async with websocket(server, token) as stream:
        stream.socket.transport.abort()
    await closed_for(server, "lost")
    async with websocket(server, token, since=10**9) as stream:
        with suppress(ConnectionClosed):
            await stream.next()
    await closed_for(server, "resync_required")
    async with connect(server.ws_url(), proxy=None) as socket:
        with suppress(ConnectionClosed):
            await socket.recv()
    await closed_for(server, "unauthorized")
    async with websocket(server, token, since=0), server.async_client(token) as dora:
        await dora.delete("/api/auth/session")
        await closed_for(server, "session")
    async with websocket(server, server.token_of("ann")) as stream:
        await silent(stream)


def test_the_status_is_for_administrators(server: Server, ann: httpx.Client) -> None:
    answer = ann.get("/api/sync/status")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_the_page_names_every_figure(server: Server) -> None:
    text = PAGE.read_text()
    names = {name.split()[0] for name in await series(server)}
    families = {re.sub("_(bucket|sum|count|created)$", "", name) for name in names}
    assert {name for name in families if f"`{name}" not in text} == set()
    status = await status_of(server)
    figures = {
        f"{part}.{name}" if isinstance(inside, dict) and part != "closes" else part
        for part, inside in status.items()
        for name in (inside if isinstance(inside, dict) else ("",))
    }
    assert {figure for figure in figures if f"`{figure}`" not in text} == set()
    assert {why for why in status["closes"] if f"`{why}`" not in text} == set()
