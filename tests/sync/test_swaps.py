"""A page that goes on with another token, without a sign-in call and with its socket open: whatever
the schedule, each tab ends with exactly what the user may see whom it shows by then."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from pylon.clock import ManualClock
from pylon.sync.browsers import SESSIONS_MAX, Browsers, browser_key
from tests.sync import test_engine
from tests.sync.engine import TOKEN, Browser, SyncEngine
from tests.sync.networks import AsgiNetwork
from tests.sync.test_engine import USERS, Play, Transport, service

SCHEDULES = 1_000 if os.environ.get("PYLON_LONG") else 15


class OneAtATime(SyncEngine):
    """Of two pulls of one tab, the answer to the first may arrive after the second has begun anew:
    the client mixes them up by itself, and nobody else can know."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = asyncio.Lock()
        self._puller: asyncio.Task[Any] | None = None

    async def pull(self) -> None:
        if self._puller is asyncio.current_task():  # it has begun anew
            await super().pull()
            return
        async with self._turn:
            self._puller = asyncio.current_task()
            try:
                await super().pull()
            finally:
                self._puller = None


class Swaps(Play):
    """Tabs store nothing: what is stored of somebody else comes back at a reload."""

    def __init__(self, app: Any, clock: ManualClock, seed: int, *, has_members: bool) -> None:
        super().__init__(app, clock, seed, has_members=has_members)
        self.shown: dict[int, str] = {}
        self.tokens: dict[tuple[int, str], str] = {}
        self.steps = (*self.steps, "swap", "swap")

    def fate(self, path: str) -> str:
        """Who connects although its pull was lost is not seen here either (`Play.fate`)."""
        return "ok" if path.startswith("/api/sync/pull") else super().fate(path)

    async def sign_in(self, browser: Browser, user: str) -> None:
        await super().sign_in(browser, user)
        self.shown[id(browser)] = user
        self.tokens[id(browser), user] = browser.local[TOKEN]

    def user_of(self, browser: Browser) -> str:
        return self.shown[id(browser)]

    async def open(
        self, browser: Browser, transport: Transport, *, persist: bool = True
    ) -> SyncEngine:
        return await super().open(browser, transport, persist=False)

    async def swap(self, _: Transport) -> None:
        """Another user's token, an old or a new one; some tabs pull at once, others when they are
        next closed."""
        browser = self.random.choice(self.browsers)
        user = next(each for each in USERS if each != self.user_of(browser))
        kept = self.tokens.get((id(browser), user))
        if kept is not None and self.random.random() < 0.5:
            browser.local[TOKEN], self.shown[id(browser)] = kept, user
        else:
            await self.sign_in(browser, user)
        for of, tab in self.tabs:
            if of is browser and self.random.random() < 0.7:
                self.begin(tab.pull())

    async def settle(self) -> None:
        await self.drain()
        for _, tab in self.tabs:
            if tab.token != tab._pulled_with:
                await tab.pull()
        await super().settle()

    async def check(self) -> None:
        """Without rows that are there only because a tab pushed them as somebody else."""
        for _, tab in self.tabs:
            for entity, row_id in list(tab.rows):
                if row_id.startswith("_pending_"):
                    del tab.rows[entity, row_id]
        await super().check()


async def test_every_tab_ends_as_the_truth_of_whom_it_shows(monkeypatch: Any) -> None:
    monkeypatch.setattr(test_engine, "SyncEngine", OneAtATime)
    for seed in range(SCHEDULES):
        for has_members in (False, True):
            clock = ManualClock()
            async with service(clock) as app:
                play = Swaps(app, clock, seed, has_members=has_members)
                try:
                    await play.run("websocket", 30)
                except BaseException:
                    print(f"seed {seed}, members {has_members}")
                    raise
                finally:
                    await play.close()


async def test_a_program_without_an_agent_keeps_its_socket() -> None:
    """And so do all who look different: only one browser is taken for one."""
    clock = ManualClock()
    async with service(clock) as app:
        assert app.house is not None
        play, hub = Play(app, clock, 0), app.house.hub
        browsers = [Browser(), Browser()]
        for user, browser in zip(USERS, browsers, strict=True):
            await play.sign_in(browser, user)
        for agent, others, stays in ((None, None, True), ("a", "b", True), ("a", "a", False)):
            token = browsers[0].local[TOKEN]
            first, second = AsgiNetwork(app, agent=agent), AsgiNetwork(app, agent=others)
            await first.request("GET", "/api/sync/pull?since=0", token=token)
            stream = await first.websocket(token)
            while not hub.readers:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await second.request("GET", "/api/sync/pull?since=0", token=browsers[1].local[TOKEN])
            assert hub.readers == stays
            await stream.close()


def test_a_crowd_behind_one_address_is_left_alone() -> None:
    now = 0.0
    browsers, key = Browsers(lambda: now), browser_key("10.0.0.1", "Browser/1.0")
    for number in range(SESSIONS_MAX):
        assert browsers.pulled(key, b"%d" % number, is_start=False) == []
        assert browsers.opened(key, b"%d" % number)
    everybody = [b"%d" % number for number in range(SESSIONS_MAX)]
    assert browsers.pulled(key, b"0", is_start=True) == everybody[1:]
    assert not browsers.opened(key, b"1"), "it has to pull first: it may be 0 by now"
    browsers.pulled(key, b"1", is_start=False)
    assert browsers.opened(key, b"1")
    assert browsers.pulled(key, b"one more", is_start=True) == []
    assert browsers.opened(key, b"1")


def test_sessions_that_are_gone_do_not_make_a_crowd() -> None:
    now = 0.0
    browsers, key = Browsers(lambda: now), browser_key("10.0.0.1", "Browser/1.0")
    for number in range(SESSIONS_MAX):
        browsers.pulled(key, b"%d" % number, is_start=True)
    browsers.pulled(key, b"0", is_start=False)
    browsers.opened(key, b"0")
    now = 61.0
    assert browsers.pulled(key, b"one more", is_start=True) == [b"0"]
    browsers.closed(key, b"0")
    assert browsers.pulled(key, b"one more", is_start=True) == []
