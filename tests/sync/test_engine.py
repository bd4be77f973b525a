"""The official client against the real app, over random schedules with faults.

Tabs of several browsers start, pull, listen, drop out, reload, write optimistically and change
hands; requests get lost before or after the server has done its work. In the end every tab that
has pulled once more, or is connected, holds exactly what a list shows its user.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal

import pytest

from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.config import Config
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from tests.server import ADMIN_TOKEN
from tests.sync.engine import MAX_SAFE_INTEGER, TOKEN, Browser, Row, SyncEngine
from tests.sync.networks import AsgiNetwork
from tests.sync.world import NOTES

SCHEDULES = 2_000 if os.environ.get("PYLON_LONG") else 15
USERS = ("ann", "bob")
TEAMS = ("red", "blue")
ENTITIES = ("Note", "Open", "Room", "Member")
Transport = Literal["websocket", "sse", "poll"]


@asynccontextmanager
async def service(clock: ManualClock, **settings: Any) -> AsyncIterator[Service]:
    """The whole app in memory."""
    manifest, problems = parse_manifest(encode(NOTES))
    assert manifest is not None, problems
    config = Config(
        **{
            "in_memory": True,
            "admin_token": ADMIN_TOKEN,
            "rate_limit_max": 0,
            "sockets_per_address_max": 0,
            "access_log": False,
            **settings,
        }
    )
    running = Service(manifest, config, clock=clock)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


class Play:
    """One schedule."""

    def __init__(
        self, app: Service, clock: ManualClock, seed: int, *, has_members: bool = False
    ) -> None:
        """With members, what one sees changes without a change of the row, and the client starts
        anew. What it had stored then stays there and comes back at a reload, of which the server
        cannot know: such tabs store nothing."""
        self.app, self.clock, self.random = app, clock, Random(seed)
        self.has_members = has_members
        self.is_newer = seed % 2 == 1
        self.trouble = 0.0
        self.transport: Transport = "websocket"
        self.steps = (*STEPS, *MEMBER_STEPS) if has_members else STEPS
        self.browsers: list[Browser] = []
        self.tabs: list[tuple[Browser, SyncEngine]] = []
        self.working: set[asyncio.Task[None]] = set()

    def fate(self, path: str) -> str:
        """What becomes of a request. A pull whose answer is lost after the server has sent it, and
        whose client connects all the same, is beyond what a server can see. So is, for anonymous
        event streams, which of an address's tabs a lost pull was of."""
        if self.random.random() >= self.trouble:
            return "ok"
        if path.startswith("/api/sync/pull"):
            return "lost" if self.transport == "websocket" else "ok"
        return self.random.choice(FATES)

    async def sleep(self, milliseconds: float) -> None:
        """Time passes as fast as the others let it."""
        for _ in range(self.random.randint(1, 5)):
            await asyncio.sleep(0)
        self.clock.advance(milliseconds / 1_000 / 50)

    async def call(self, method: str, path: str, body: Any = None, token: str = ADMIN_TOKEN) -> Any:
        answer = await AsgiNetwork(self.app).request(method, path, token=token, body=body)
        return answer.body if answer.status < 300 else None

    async def public_rows(self, entity: str) -> dict[str, Row]:
        answer = await AsgiNetwork(self.app).request("GET", f"/api/entities/{entity}", token=None)
        return {row["id"]: row for row in answer.body.get("data", ())}  # none at all: 403

    async def sign_in(self, browser: Browser, user: str) -> None:
        minted = await self.call("POST", "/api/auth/session", {"user_id": user})
        browser.local[TOKEN] = minted["token"]

    async def open(
        self, browser: Browser, transport: Transport, *, persist: bool = True
    ) -> SyncEngine:
        # A new tab whose first pull never arrives, at the moment in which another tab's does, looks
        # to the server like that other one.
        trouble, self.trouble = self.trouble, 0.0
        address = f"10.0.0.{self.browsers.index(browser)}"
        tab = SyncEngine(
            AsgiNetwork(self.app, self.fate, address=address, agent="Browser/1.0"),
            browser,
            transport=transport,
            persist=persist and not self.has_members,
            sleep=self.sleep,
            random=self.random,
            now_ms=lambda: self.clock.now() * 1_000,
            is_newer=self.is_newer,
        )
        await tab.start()
        self.trouble = trouble
        self.tabs.append((browser, tab))
        return tab

    def begin(self, work: Any) -> None:
        """Start something without waiting for it."""
        task = asyncio.create_task(work)
        self.working.add(task)
        task.add_done_callback(self.working.discard)

    # --- steps -------------------------------------------------------------------------------

    async def run(self, transport: Transport, count: int) -> None:
        self.transport = transport
        for user in USERS:
            browser = Browser()
            await self.sign_in(browser, user)
            self.browsers.append(browser)
            await self.open(browser, transport)
        for _ in range(count):
            self.trouble = self.random.choice((0.0, 0.0, 0.3))
            await getattr(self, self.random.choice(self.steps))(transport)
            for _ in range(self.random.randint(0, 6)):
                await asyncio.sleep(0)
        self.trouble = 0.0
        await self.settle()
        await self.check()

    def data(self) -> Row:
        choices: dict[str, tuple[Any, ...]] = {
            "ownerId": ("ann", "bob", None),
            "public": (True, False, None),
            "text": ("a", "b", "c"),
            "secret": ("s",),
        }
        return {
            name: self.random.choice(values)
            for name, values in choices.items()
            if self.random.random() < 0.6
        }

    async def admin_insert(self, _: Transport) -> None:
        self.begin(self.call("POST", "/api/entities/Note", self.data()))

    async def admin_insert_open(self, _: Transport) -> None:
        shown = self.random.random() < 0.7
        self.begin(self.call("POST", "/api/entities/Open", {"n": 1, "shown": shown}))

    async def admin_room(self, _: Transport) -> None:
        """A room of a team; who sees it depends on rows of `Member`."""
        await self.admin_write("Room", {"teamId": self.random.choice(TEAMS), "n": 1})

    async def admin_member(self, _: Transport) -> None:
        """Somebody joins a team, changes or leaves it."""
        user, team = self.random.choice((*USERS, None)), self.random.choice(TEAMS)
        await self.admin_write(
            "Member", {"teamId": team, "userId": user, "n": self.random.randint(1, 3)}
        )

    async def admin_write(self, entity: str, data: Row) -> None:
        listed = (await self.call("GET", f"/api/entities/{entity}"))["data"]
        kind = self.random.choice(("insert", "update", "delete"))
        if kind == "insert" or not listed:
            self.begin(self.call("POST", f"/api/entities/{entity}", data))
            return
        path = f"/api/entities/{entity}/{self.random.choice(listed)['id']}"
        self.begin(
            self.call("PATCH", path, data) if kind == "update" else self.call("DELETE", path)
        )

    async def admin_update(self, _: Transport) -> None:
        listed = (await self.call("GET", "/api/entities/Note"))["data"]
        if listed:
            row = self.random.choice(listed)
            self.begin(self.call("PATCH", f"/api/entities/Note/{row['id']}", self.data()))

    async def admin_delete(self, _: Transport) -> None:
        listed = (await self.call("GET", "/api/entities/Note"))["data"]
        if listed:
            row = self.random.choice(listed)
            self.begin(self.call("DELETE", f"/api/entities/Note/{row['id']}"))

    async def insert(self, _: Transport) -> None:
        browser, tab = self.random.choice(self.tabs)
        data = {
            "ownerId": self.user_of(browser),
            "text": "mine",
            "public": self.random.random() < 0.3,
        }
        self.begin(tab.insert("Note", data))

    async def update(self, _: Transport) -> None:
        browser, tab = self.random.choice(self.tabs)
        mine = self.rows_of(browser, tab)
        if mine:
            self.begin(tab.update("Note", self.random.choice(mine), {"text": "changed"}))

    async def delete(self, _: Transport) -> None:
        browser, tab = self.random.choice(self.tabs)
        mine = self.rows_of(browser, tab)
        if mine:
            self.begin(tab.delete("Note", self.random.choice(mine)))

    async def drop(self, _: Transport) -> None:
        await self.random.choice(self.tabs)[1].drop()

    async def reload(self, transport: Transport) -> None:
        """A tab is closed and opened again, on what the browser has kept."""
        await self.drain()
        browser, tab = self.tabs.pop(self.random.randrange(len(self.tabs)))
        await tab.stop()
        await self.open(browser, transport, persist=tab.persist)

    async def second_tab(self, transport: Transport) -> None:
        """A tab that shares the session; two that share a database would write over each other."""
        if len(self.tabs) < 4:
            await self.open(self.random.choice(self.browsers), transport, persist=False)

    def user_of(self, browser: Browser) -> str:
        return USERS[self.browsers.index(browser)]

    def rows_of(self, browser: Browser, tab: SyncEngine) -> list[str]:
        owner = self.user_of(browser)
        return [i for i, row in tab.table("Note").items() if row.get("ownerId") == owner]

    # --- the end -----------------------------------------------------------------------------

    async def drain(self) -> None:
        while self.working:
            await asyncio.gather(*self.working)

    async def settle(self) -> None:
        """Everything that was begun ends; whoever is waiting to reconnect does."""
        await self.drain()
        for _, tab in self.tabs:
            await tab.push()
        # A row that everybody hears of comes last, so that what is on its way has arrived.
        last = (await self.call("POST", "/api/entities/Open", {"n": 0, "shown": True}))["id"]
        for _ in range(4_000):
            if all(last in tab.table("Open") for _, tab in self.tabs):
                return
            await asyncio.sleep(0.0005)
        raise AssertionError([(tab.connected, tab.cursor) for _, tab in self.tabs])

    async def check(self) -> None:
        for browser, tab in self.tabs:
            token = browser.local[TOKEN]
            for entity in ENTITIES:
                listed = await self.call("GET", f"/api/entities/{entity}", token=token)
                truth = {row["id"]: row for row in (listed or {"data": []})["data"]}
                held = tab.table(entity)
                if self.transport == "sse":
                    # An EventSource has no token: it shows what the public may see, also where a
                    # rule hides that from some user (`!exists` of `Member`).
                    public = await self.public_rows(entity)
                    held = {i: row for i, row in held.items() if i in truth or row != public.get(i)}
                # What the tab deleted itself, in vain, stays out of its sight until a reset.
                for name, row_id in [k for k, s in tab.tombstones.items() if s == MAX_SAFE_INTEGER]:
                    if name == entity:
                        truth.pop(row_id, None)
                # What it has not managed to push is there only for it.
                for item in tab.queue:
                    held.pop(item["change"]["row_id"], None)
                    truth.pop(item["change"]["row_id"], None)
                assert held == truth
            assert tab.applied == sorted(set(tab.applied)), "ascending, none twice"

    async def close(self) -> None:
        for _, tab in self.tabs:
            await tab.stop()


FATES = ("lost", "unanswered")
STEPS = (
    "admin_insert",
    "admin_insert_open",
    "admin_update",
    "admin_update",
    "admin_delete",
    "insert",
    "insert",
    "update",
    "delete",
    "drop",
    "drop",
    "reload",
    "second_tab",
)

MEMBER_STEPS = ("admin_room", "admin_room", "admin_room", "admin_member", "admin_member")


@pytest.mark.parametrize("has_members", [False, True], ids=["rows", "members"])
@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
async def test_every_tab_ends_as_the_truth(transport: Transport, has_members: bool) -> None:
    for seed in range(SCHEDULES):
        clock = ManualClock()
        async with service(clock) as app:
            play = Play(app, clock, seed, has_members=has_members)
            try:
                await play.run(transport, 30)
            except BaseException:
                print(f"seed {seed}")
                raise
            finally:
                await play.close()
