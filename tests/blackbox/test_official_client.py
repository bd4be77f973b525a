"""The double of the official client against the real program, over its real doors."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, serving
from tests.sync.engine import TOKEN, Browser, SyncEngine
from tests.sync.networks import RealNetwork

WAIT_SECONDS = 60.0
KILLS = 40 if os.environ.get("PYLON_LONG") else 3
DEV = {"PYLON_DEV_MODE": "1"}


class Person:
    """A browser of one user, and its tabs."""

    is_newer = False

    def __init__(self, server: Server, user: str | None, transport: Any = "websocket") -> None:
        self.server, self.transport = server, transport
        self.browser = Browser()
        self.network = RealNetwork(server.url, is_newer=Person.is_newer)
        self.tabs: list[SyncEngine] = []
        if user is not None:
            self.browser.local[TOKEN] = server.token_of(user)

    async def open(self, *, persist: bool = True) -> SyncEngine:
        tab = SyncEngine(
            self.network,
            self.browser,
            transport=self.transport,
            persist=persist,
            sleep=lambda milliseconds: asyncio.sleep(min(milliseconds, 20) / 1_000),
            random=Random(len(self.tabs)),
            now_ms=lambda: time.time() * 1_000,
            is_newer=Person.is_newer,
        )
        self.tabs.append(tab)
        await tab.start()
        return tab

    async def close(self) -> None:
        for tab in self.tabs:
            await tab.stop()
        await self.network.aclose()


@pytest.fixture(scope="module", params=["older", "newer"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One for each kind of clients, those that know of spec 09 and those that do not."""
    with serving(BLACKBOX_APP, tmp_path_factory.mktemp(request.param) / "app.db") as running:
        Person.is_newer = request.param == "newer"
        yield running
        Person.is_newer = False


@asynccontextmanager
async def person(
    server: Server, user: str | None, transport: Any = "websocket"
) -> AsyncIterator[Person]:
    someone = Person(server, user, transport)
    try:
        yield someone
    finally:
        await someone.close()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def texts(tab: SyncEngine, entity: str = "Mine") -> list[Any]:
    return sorted(row["text"] for row in tab.table(entity).values())


async def truth(server: Server, token: str, entity: str) -> dict[str, Any]:
    async with server.async_client(token) as client:
        listed = (await client.get(f"/api/entities/{entity}")).json()["data"]
    return {row["id"]: row for row in listed}


@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
async def test_an_optimistic_row_becomes_the_real_one(server: Server, transport: str) -> None:
    user = f"kim-{transport}"
    async with person(server, user, transport) as kim, person(server, "lee") as lee:
        tab, other = await kim.open(), await lee.open()
        temporary = await tab.insert("Mine", {"text": "a", "ownerId": user})
        assert temporary.startswith("_pending_")
        await eventually(lambda: list(tab.table("Mine")) not in ([], [temporary]))
        await eventually(lambda: temporary not in tab.table("Mine"))
        assert tab.table("Mine") == await truth(server, kim.browser.local[TOKEN], "Mine")
        assert tab.queue == []
        await tab.update("Mine", temporary, {"text": "b"})
        await eventually(lambda: texts(tab) == ["b"])
        (row_id,) = tab.table("Mine")
        await tab.delete("Mine", row_id)
        assert tab.queue == []
        assert texts(tab) == []
        assert await truth(server, kim.browser.local[TOKEN], "Mine") == {}
        assert other.table("Mine") == {}, "nobody else heard of it"


async def test_a_push_under_policies_stops_at_the_first_failure(server: Server) -> None:
    async with person(server, "max") as max_:
        tab = await max_.open()
        await tab.insert("Mine", {"text": "not mine", "ownerId": "somebody"})
        (failed,) = tab.queue
        assert (failed["status"], failed["error"]) == (
            "failed",
            "insert Mine: Access denied by policy",
        )
        await tab.insert("Mine", {"text": "mine", "ownerId": "max"})
        assert [item["status"] for item in tab.queue] == ["failed"]
        await eventually(lambda: "mine" in texts(tab))


async def test_an_anonymous_push_is_refused_before_its_body(server: Server) -> None:
    async with server.async_client() as nobody:
        answer = await nobody.post("/api/sync/push", content=b"no json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
    async with server.async_client(server.token_of("ann")) as ann:
        for body in (b"no json", b"[]", b'{"changes":1}'):
            answer = await ann.post("/api/sync/push", content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_JSON")
        answer = await ann.post("/api/sync/push", json={"changes": []})
        assert list(answer.json()) == ["applied", "deduped", "errors", "cursor"]


async def test_a_reload_continues_and_a_drop_loses_nothing(server: Server) -> None:
    async with person(server, "nan") as nan, server.async_client(ADMIN_TOKEN) as admin:
        tab = await nan.open()
        await admin.post("/api/entities/Mine", json={"text": "1", "ownerId": "nan"})
        await eventually(lambda: texts(tab) == ["1"])
        await tab.drop()
        await admin.post("/api/entities/Mine", json={"text": "2", "ownerId": "nan"})
        await eventually(lambda: texts(tab) == ["1", "2"])
        await tab.stop()
        await admin.post("/api/entities/Mine", json={"text": "3", "ownerId": "nan"})
        again = await nan.open()
        assert texts(again) == ["1", "2", "3"]
        assert again.resets == 0


async def test_another_sign_in_after_a_reload_starts_anew(server: Server) -> None:
    """The page's storage still has the cursor of whoever was signed in before."""
    async with person(server, "old") as page, server.async_client(ADMIN_TOKEN) as admin:
        await admin.post("/api/entities/Mine", json={"text": "new's", "ownerId": "new"})
        tab = await page.open()
        await tab.stop()
        assert page.browser.cursor
        page.browser.local[TOKEN] = server.token_of("new")
        again = await page.open()
        assert again.resets == 1
        assert texts(again) == ["new's"]


async def test_another_sign_in_without_a_reload(server: Server) -> None:
    async with person(server, "one") as page, server.async_client(ADMIN_TOKEN) as admin:
        for user in ("one", "two"):
            await admin.post("/api/entities/Mine", json={"text": user, "ownerId": user})
        tab = await page.open()
        assert texts(tab) == ["one"]
        await eventually(lambda: tab.connected)
        page.browser.local[TOKEN] = server.token_of("two")
        await tab.drop()
        await eventually(lambda: texts(tab) == ["two"])


async def test_a_guest_who_becomes_a_user_starts_anew(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=DEV) as server:
        async with person(server, None) as page, server.async_client(ADMIN_TOKEN) as admin:
            guest = (await admin.post("/api/auth/guest")).json()["token"]
            page.browser.local[TOKEN] = guest
            await admin.post("/api/entities/Mine", json={"text": "sam's", "ownerId": "sam"})
            first, second = await page.open(), await page.open()
            assert texts(first) == texts(second) == []
            async with server.async_client(guest) as itself:
                answer = await itself.post("/api/auth/upgrade", json={"user_id": "sam"})
                assert answer.status_code == 200, answer.text
            await eventually(lambda: texts(first) == texts(second) == ["sam's"])


async def test_killed_and_started_again(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        async with person(server, "ida") as ida:
            tab = await ida.open()
            await tab.insert("Mine", {"text": "before", "ownerId": "ida"})
            server.kill()
            await tab.insert("Mine", {"text": "offline", "ownerId": "ida"})
            assert [item["status"] for item in tab.queue] == ["pending"]
            server.start()
            await eventually(lambda: tab.connected)
            await tab.insert("Mine", {"text": "after", "ownerId": "ida"})
            await eventually(lambda: len(tab.table("Mine")) == 3)
            await eventually(lambda: not any(i.startswith("_") for i in tab.table("Mine")))
            assert tab.queue == []
            assert tab.table("Mine") == await truth(server, ida.browser.local[TOKEN], "Mine")


@pytest.mark.timeout(1_800)
async def test_kills_under_load_leave_no_tab_behind(tmp_path: Path) -> None:
    """Killed between a commit and its fan-out as often as not: every change is there once, and
    every tab ends as the truth, however it had gone on in the meantime."""
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server:
        async with person(server, "ida") as ida, person(server, "kim") as kim:
            tabs = [
                await each.open(persist=first) for each in (ida, kim) for first in (True, False)
            ]
            expected: list[str] = []
            for _ in range(KILLS):
                await write_until_killed(server, tabs, expected)
                server.start()
                await eventually(lambda: all(tab.connected for tab in tabs))
                await all_is_there(server, tabs, expected)


async def write_until_killed(server: Server, tabs: list[SyncEngine], expected: list[str]) -> None:
    async def write(number: int, tab: SyncEngine) -> None:
        while server.child is not None:
            expected.append(f"{number} {len(expected)}")
            row = {"text": expected[-1], "ownerId": ("ida", "kim")[number // 2], "public": True}
            await tab.insert("Note", row)

    enough = len(expected) + 60
    writing = [asyncio.create_task(write(*each)) for each in enumerate(tabs)]
    await eventually(lambda: len(expected) >= enough)
    server.kill()
    await asyncio.gather(*writing)


async def all_is_there(server: Server, tabs: list[SyncEngine], expected: list[str]) -> None:
    for tab in tabs:
        await tab.push()
        assert tab.queue == []
    rows = await truth(server, ADMIN_TOKEN, "Note")
    shown = {
        row_id: {k: v for k, v in row.items() if k != "secret"} for row_id, row in rows.items()
    }
    assert sorted(row["text"] for row in rows.values()) == sorted(expected)
    await eventually(lambda: all(tab.table("Note") == shown for tab in tabs))
    assert all(tab.applied == sorted(set(tab.applied)) for tab in tabs), "ascending, none twice"


async def test_a_pull_that_is_rate_limited_costs_nothing_for_good(tmp_path: Path) -> None:
    """The client connects although its pull was refused, and takes live events as they come."""
    limited = {"PYLON_RATE_LIMIT_MAX": "6", "PYLON_RATE_LIMIT_WINDOW": "3"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=limited) as server:
        async with person(server, "ola") as ola, server.async_client(ADMIN_TOKEN) as admin:
            for number in range(3):
                await admin.post("/api/entities/Mine", json={"text": str(number), "ownerId": "ola"})
            token = ola.browser.local[TOKEN]
            async with server.async_client(token) as greedy:
                while (await greedy.get("/api/sync/pull")).status_code != 429:
                    pass
            tab = await ola.open()
            await eventually(lambda: texts(tab) == ["0", "1", "2"])
