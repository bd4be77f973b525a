"""`sync.js` in two windows of one browser: they share the copy on disk and the queue, whatever
becomes of the server, the network and the windows meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pylon import codec
from tests.examples.chromium import CHROMIUM, Browser, Page, browser
from tests.examples.served import EXAMPLES, ServedApp

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

TODO = EXAMPLES / "todo"
HTML = """<!doctype html>
<link rel="icon" href="data:,">
<script type="module" src="page.js"></script>
"""
PAGE = """
import { savedAccount, signInAsGuest, Sync } from "./sync.js";
if (!savedAccount("app")) await signInAsGuest("app");
globalThis.sync = new Sync({ name: "app" });
globalThis.rows = () => sync.all("Todo").map(({ id, title }) => [id, title]).sort();
globalThis.isQuiet = () => sync.state === "live" && !sync.status.pending
  && sync.all("Todo").every((row) => row.createdAt);
await sync.start();
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedApp]:
    folder = tmp_path / "app"
    (folder / "public").mkdir(parents=True)
    shutil.copy(TODO / "app.py", folder)
    for name in ("sync.js", "sync-disk.js"):
        shutil.copy(TODO / "public" / name, folder / "public")
    (folder / "public" / "index.html").write_text(HTML)
    (folder / "public" / "page.js").write_text(PAGE)
    app = ServedApp(folder, tmp_path / "app.db")
    app.start()
    yield app
    app.stop()


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(tmp_path / "profile") as running:
        yield running


async def is_live(page: Page) -> None:
    await page.wait_for("globalThis.sync?.state === 'live'")


async def shows(page: Page, expected: dict[str, str]) -> None:
    rows = codec.encode(sorted(expected.items())).decode()
    await page.wait_for(f"globalThis.rows && JSON.stringify(rows()) === JSON.stringify({rows})")


class World:
    """Two windows, a server, and what all of them should show."""

    def __init__(self, windows: list[Page], served: ServedApp, random: Random) -> None:
        self.windows, self.served, self.random = windows, served, random
        self.expected: dict[str, str] = {}
        self.is_up = True

    async def change(self, number: int) -> None:
        """Do one thing in one of the windows; both show it, whether or not there is a server."""
        window = self.random.choice(self.windows)
        row = self.random.choice([None, *self.expected])
        title = f"step {number}"
        if row is None:
            made: Any = await window.evaluate(f"sync.insert('Todo', {{ title: '{title}' }})")
            self.expected[made] = title
        elif self.random.random() < 0.6:
            await window.evaluate(f"sync.update('Todo', '{row}', {{ title: '{title}' }})")
            self.expected[row] = title
        else:
            await window.evaluate(f"sync.remove('Todo', '{row}')")
            del self.expected[row]
        for each in self.windows:
            await shows(each, self.expected)

    async def disturb(self) -> None:
        """Kill or start the server, or load a window anew."""
        if not self.is_up:
            self.served.start()
        elif self.random.random() < 0.5:
            self.served.kill()
        else:
            window = self.random.choice(self.windows)
            await window.go(self.served.url + f"?{self.random.random()}")
            await shows(window, self.expected)
            return
        self.is_up = not self.is_up


@pytest.mark.parametrize("seed", [1, 2])
async def test_two_windows_agree_with_each_other_and_with_the_server(
    chromium: Browser, served: ServedApp, seed: int
) -> None:
    one = await chromium.open(served.url)
    await is_live(one)
    two = await chromium.open(served.url)
    await is_live(two)
    world = World([one, two], served, Random(seed))
    for number in range(40):
        await world.change(number)
        if world.random.random() < 0.25:
            await world.disturb()
    if not world.is_up:
        served.start()
    for window in world.windows:
        await window.evaluate("sync.check()")
        await window.wait_for("isQuiet()")
        await shows(window, world.expected)
        assert await window.evaluate("sync.status.refused") == []
    stored = await one.evaluate(
        "fetch('api/entities/Todo?limit=100', { headers: { authorization:"
        " 'Bearer ' + JSON.parse(localStorage['app:account']).token } })"
        ".then((answer) => answer.json())"
    )
    assert {row["id"]: row["title"] for row in stored["data"]} == world.expected
    assert (one.exceptions, two.exceptions) == ([], [])


async def test_what_a_closed_window_had_not_sent_is_sent_by_another(
    chromium: Browser, served: ServedApp
) -> None:
    one = await chromium.open(served.url)
    await is_live(one)
    two = await chromium.open(served.url)
    await is_live(two)
    await one.network(offline=True)
    await one.evaluate("void sync.insert('Todo', { title: 'left behind' })")
    await two.wait_for("rows().length === 1")
    await two.wait_for("isQuiet()")
    assert one.exceptions == two.exceptions == []


async def test_a_renewed_token_serves_all_windows(chromium: Browser, served: ServedApp) -> None:
    """Also the one that did not renew it, after the old token is of no use any more."""
    one = await chromium.open(served.url)
    await is_live(one)
    two = await chromium.open(served.url)
    await is_live(two)
    before = await one.evaluate("JSON.parse(localStorage['app:account']).token")
    await one.evaluate(
        "localStorage['app:account'] ="
        " JSON.stringify({ ...JSON.parse(localStorage['app:account']), renewedAt: 0 })"
    )
    served.kill()
    await one.wait_for("sync.state === 'offline'")
    served.start()
    for window in (one, two):
        await window.evaluate("sync.check()")
        await is_live(window)
    assert await two.evaluate("JSON.parse(localStorage['app:account']).token") != before
    await two.evaluate("void sync.insert('Todo', { title: 'still here' })")
    await one.wait_for("rows().length === 1")
    await two.wait_for("isQuiet()")
    assert one.exceptions == two.exceptions == []


async def test_a_session_that_is_given_another_user_starts_as_that_one(
    chromium: Browser, served: ServedApp
) -> None:
    page = await chromium.open(served.url)
    await is_live(page)
    await page.evaluate("void sync.insert('Todo', { title: 'of the guest' })")
    await page.wait_for("isQuiet()")
    await page.evaluate("sync.onSignedOut = () => { globalThis.told = true; }")
    await page.evaluate(
        "fetch('api/auth/upgrade', { method: 'POST', body: JSON.stringify({ user_id: 'ann' }),"
        " headers: { authorization: 'Bearer ' + JSON.parse(localStorage['app:account']).token } })"
        ".then((answer) => answer.ok)"
    )
    await page.wait_for("globalThis.told")
    assert await page.evaluate("JSON.parse(localStorage['app:account']).userId") == "ann"
    await page.go(served.url + "?again")
    await is_live(page)
    assert await page.evaluate("rows()") == []
    assert page.exceptions == []
