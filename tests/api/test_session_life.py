"""A live stream lives no longer than what its session meant when it was opened: over real sockets,
with the program in this process, so that its clock and its sessions can be held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pylon import codec, limits
from pylon.auth.sessions import Sessions
from pylon.changes.feed import Feed
from pylon.clock import SystemClock
from pylon.config import Config
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from pylon.sync.pulls import Pulls, StreamStart
from tests.blackbox.streams import WAIT_SECONDS
from tests.http.live import live
from tests.server import ADMIN_TOKEN, bearer
from tests.sync.world import NOTES

SESSION_ENDED = (1008, "session ended")


class JumpingClock(SystemClock):
    """The machine's clock, whose wall time can be moved."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.now = self._now

    def _now(self) -> float:
        return time.time() + self.offset


@dataclass(kw_only=True)
class Running:
    clock: JumpingClock
    sessions: Sessions
    feed: Feed
    client: httpx.AsyncClient
    url: str
    stack: AsyncExitStack

    async def socket(self, token: str) -> ClientConnection:
        """A WebSocket that the server has taken in."""
        opened = await self.stack.enter_async_context(
            connect(self.url, additional_headers=bearer(token), proxy=None, compression=None)
        )
        await opened.send('{"type":"presence","event":"list"}')
        await self.told(opened)
        return opened

    async def told(self, socket: ClientConnection) -> dict[str, Any]:
        text = await asyncio.wait_for(socket.recv(), WAIT_SECONDS)
        message: dict[str, Any] = codec.decode_trusted(text)
        return message

    async def told_of_a_row(self, socket: ClientConnection, **note: Any) -> dict[str, Any]:
        """What a socket hears of a row that is written now."""
        answer = await self.client.post("/api/entities/Note", json=note)
        assert answer.status_code == 201, answer.text
        while (event := await self.told(socket)).get("row_id") != answer.json()["id"]:
            pass
        return event


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason, once the server has closed it; never the sweep of a minute."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(limits.SESSION_SWEEP_SECONDS / 2):
            while True:
                await socket.recv()
    return socket.close_code, socket.close_reason


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    made: list[Sessions] = []
    feeds: list[Feed] = []

    def sessions(*arguments: Any, **more: Any) -> Sessions:
        made.append(Sessions(*arguments, **more))
        return made[-1]

    def feed(*arguments: Any, **more: Any) -> Feed:
        feeds.append(Feed(*arguments, **more))
        return feeds[-1]

    monkeypatch.setattr("pylon.assembly.identity.Sessions", sessions)
    monkeypatch.setattr("pylon.assembly.base.Feed", feed)
    manifest, problems = parse_manifest(codec.encode(NOTES))
    assert manifest is not None, problems
    config = Config(
        in_memory=True,
        admin_token=ADMIN_TOKEN,
        rate_limit_max=0,
        sockets_per_address_max=0,
        access_log=False,
        presence_sharing="tenant",
    )
    clock = JumpingClock()
    service = Service(manifest, config, clock=clock)
    async with (
        live(service, has_lifespan=True) as server,
        httpx.AsyncClient(
            base_url=server.url,
            headers=bearer(ADMIN_TOKEN),
            trust_env=False,
            verify=False,
            timeout=60,
        ) as client,
        AsyncExitStack() as stack,
    ):
        yield Running(
            clock=clock,
            sessions=made[0],
            feed=feeds[0],
            client=client,
            url=f"{server.ws_url}/ws",
            stack=stack,
        )


async def test_expiry_ends_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann")
        first = await app.socket(token)
        app.clock.offset += limits.SESSION_SECONDS / 2
        later, _ = await app.sessions.create("bob")
        second = await app.socket(later)
        root = await app.socket(ADMIN_TOKEN)
        app.clock.offset += limits.SESSION_SECONDS / 2 + 1
        assert await end_of(first) == SESSION_ENDED
        for socket, owner in ((second, "bob"), (root, "bob")):
            assert (await app.told_of_a_row(socket, ownerId=owner))["kind"] == "insert"
        assert await app.sessions.resolve(token) is None


async def test_a_refresh_carries_a_stream_beyond_the_old_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann")
        socket = await app.socket(token)
        short, _ = await app.sessions.create("bob")
        witness = await app.socket(short)
        app.clock.offset += limits.SESSION_SECONDS / 2
        refreshed = await app.sessions.refresh(token)
        assert refreshed is not None
        app.clock.offset += limits.SESSION_SECONDS / 2 + 1
        # Once the one that was not refreshed has been ended, so has every token that is over.
        assert await end_of(witness) == SESSION_ENDED
        assert await app.sessions.resolve(token) is None
        assert (await app.told_of_a_row(socket, ownerId="ann"))["kind"] == "insert"
        assert await app.sessions.revoke(refreshed[0])
        assert await end_of(socket) == SESSION_ENDED


@pytest.mark.parametrize("jump", [-10 * 86_400.0, 86_400.0])
async def test_a_clock_that_jumps_ends_no_good_session(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann")
        socket = await app.socket(token)
        app.clock.offset += jump
        await app.sessions.end_expired()
        assert (await app.told_of_a_row(socket, ownerId="ann"))["kind"] == "insert"


async def by_route(app: Running, token: str, method: str, path: str, **more: Any) -> None:
    answer = await app.client.request(method, path, headers=bearer(token), **more)
    assert answer.status_code == 200, answer.text


ENDINGS: dict[str, Callable[[Running, str], Any]] = {
    "logout": lambda app, token: by_route(app, token, "DELETE", "/api/auth/session"),
    "logout everywhere": lambda app, token: by_route(app, token, "DELETE", "/api/auth/sessions"),
    "another tenant": lambda app, token: app.sessions.set_tenant(token, "blue"),
    "no tenant": lambda app, token: app.sessions.set_tenant(token, None),
    "another user": lambda app, token: app.sessions.upgrade(token, "cleo"),
    "purge": lambda app, _: by_route(app, ADMIN_TOKEN, "DELETE", "/api/admin/users/ann/purge"),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_what_changes_a_session_ends_its_streams_only(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann", tenant_id="red")
        other, _ = await app.sessions.create("bob", tenant_id="red")
        mine = [await app.socket(token) for _ in range(2)]
        theirs, root = await app.socket(other), await app.socket(ADMIN_TOKEN)
        await ENDINGS[ending](app, token)
        for socket in mine:
            assert await end_of(socket) == SESSION_ENDED
        for socket in (theirs, root):
            assert (await app.told_of_a_row(socket, orgId="red"))["kind"] == "insert"


@pytest.mark.parametrize("happens", ["end", "gap", "nothing"])
async def test_a_handshake_under_way_ends_with_its_session(
    monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    """Who it is has been looked up already, and the hub does not know the stream yet."""
    looked_up, may_go_on, start = asyncio.Event(), asyncio.Event(), Pulls.start

    async def slow(self: Pulls, *arguments: Any, **more: Any) -> StreamStart:
        looked_up.set()
        await may_go_on.wait()
        return await start(self, *arguments, **more)

    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann")
        monkeypatch.setattr(Pulls, "start", slow)
        opening = asyncio.create_task(app.socket(token))
        await asyncio.wait_for(looked_up.wait(), WAIT_SECONDS)
        if happens == "end":
            assert await app.sessions.revoke(token)
        elif happens == "gap":
            app.feed.gap(app.feed.seq)
        may_go_on.set()
        if happens == "nothing":
            assert (await app.told_of_a_row(await opening, ownerId="ann"))["kind"] == "insert"
            return
        with pytest.raises(ConnectionClosed) as closed:
            await opening
        assert closed.value.rcvd is not None
        told = (closed.value.rcvd.code, closed.value.rcvd.reason)
        assert told == (SESSION_ENDED if happens == "end" else (1013, "resync required"))


async def test_a_stream_opened_again_is_that_of_the_new_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as app:
        token, _ = await app.sessions.create("ann", tenant_id="red")
        old = await app.socket(token)
        await app.sessions.set_tenant(token, "blue")
        assert await end_of(old) == SESSION_ENDED
        again = await app.socket(token)
        await app.client.post("/api/entities/Note", json={"orgId": "red", "text": "hidden"})
        assert (await app.told_of_a_row(again, orgId="blue"))["data"]["orgId"] == "blue"


# --- tenants and presence --------------------------------------------------------------------


async def test_nothing_said_leaves_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as app:
        callers = {"ann": "red", "bob": "blue", "eve": "red", "cleo": None, "dora": None}
        sockets: dict[str, ClientConnection] = {}
        for name, tenant in callers.items():
            token, _ = await app.sessions.create(name, tenant_id=tenant)
            sockets[name] = await app.socket(token)
            await sockets[name].send('{"type":"topic-subscribe","topic":"t"}')
            await app.told(sockets[name])
        for name in ("eve", "cleo"):
            await sockets[name].send('{"type":"presence","event":"update","data":1}')
            await sockets[name].send('{"type":"topic","topic":"t","data":2}')
        heard = {
            "ann": ["eve", "eve"],
            "eve": ["eve", "eve"],
            "cleo": ["cleo", "cleo"],
            "bob": [],
            "dora": [],
        }
        for name, senders in heard.items():
            told = [await app.told(sockets[name]) for _ in senders]
            assert [message["from"] for message in told] == senders
        for name, socket in sockets.items():
            await socket.send('{"type":"presence","event":"list"}')
            listed = await app.told(socket)
            senders = sorted({*heard[name]})
            assert [entry["from"] for entry in listed["clients"]] == senders


async def test_an_event_stream_that_cannot_start_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not stay open as if there were nothing to tell."""

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("pylon.sync.pulls.Pulls.start", fail)
    async with running(monkeypatch) as app:
        with suppress(httpx.RemoteProtocolError):
            answer = await app.client.get("/events")
            assert answer.text == ": connected\n\n"
        assert (await app.client.get("/api/sync/status")).json()["streams"]["open"] == 0
