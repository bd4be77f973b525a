"""The todo example in a real browser: two windows follow each other, through a killed server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.chromium import CHROMIUM, Page, browser
from tests.examples.served import EXAMPLES, ServedApp

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

TITLES = "[...document.querySelectorAll('#todos li span')].map((each) => each.textContent)"


@pytest.fixture
def todo(tmp_path: Path) -> Iterator[ServedApp]:
    """The example on a database of its own."""
    served = ServedApp(EXAMPLES / "todo", tmp_path / "todo.db")
    served.start()
    yield served
    served.stop()


async def add(page: Page, title: str) -> None:
    """Add a todo as a person does: type, Enter."""
    await page.evaluate("document.getElementById('title').focus()")
    await page.type(title)
    await page.press_enter()


async def sees(page: Page, *titles: str) -> None:
    """Wait until exactly these todos are shown, in this order."""
    await page.wait_for(f"JSON.stringify({TITLES}) === JSON.stringify({list(titles)!r})")


async def is_live(page: Page) -> None:
    """Wait until the page says that it is live."""
    await page.wait_for("document.getElementById('connection').dataset.state === 'live'")


async def test_two_windows_follow_each_other(todo: ServedApp, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as chromium:
        one = await chromium.open(todo.url)
        two = await chromium.open(todo.url)
        await one.click("#sign-in")  # and the second window follows
        await is_live(one)
        await is_live(two)

        await add(one, "Water the plants")
        await sees(two, "Water the plants")
        await add(two, "Call <b>Ada</b>")
        await sees(one, "Water the plants", "Call <b>Ada</b>")

        await two.click("#todos li:first-child input")
        await one.wait_for("document.querySelector('#todos li[data-done] input:checked')")
        assert await one.evaluate("document.getElementById('count').textContent") == "1 of 2 done"
        await one.screenshot(tmp_path / "list.png")

        await one.click("#todos li:first-child .delete")
        await sees(two, "Call <b>Ada</b>")
        await sees(one, "Call <b>Ada</b>")

        todo.kill()
        for page in (one, two):
            await page.wait_for("document.getElementById('connection').dataset.state === 'offline'")
        await add(one, "Nobody hears this")
        await one.wait_for("!document.getElementById('problem').hidden")
        assert "cannot be reached" in await one.evaluate(
            "document.getElementById('problem').textContent"
        )
        assert (
            await one.evaluate("document.getElementById('title').value") == "Nobody hears this"
        ), "what could not be sent is still there to send again"

        todo.start()
        await is_live(one)
        await is_live(two)
        await sees(one, "Call <b>Ada</b>")
        await one.press_enter()
        await sees(two, "Call <b>Ada</b>", "Nobody hears this")

        for page in (one, two):
            assert page.exceptions == []
            assert page.violations == []


async def test_what_the_guest_does_survives_a_reload_and_ends_with_signing_out(
    todo: ServedApp, tmp_path: Path
) -> None:
    async with browser(tmp_path / "profile") as chromium:
        page = await chromium.open(todo.url)
        assert await page.evaluate("document.getElementById('list').hidden")
        await page.click("#sign-in")
        await is_live(page)
        await add(page, "Stay")
        await sees(page, "Stay")
        await page.go(todo.url + "?again")
        await sees(page, "Stay")
        await is_live(page)
        await page.click("#sign-out")
        await page.wait_for("!document.getElementById('welcome').hidden")
        assert await page.evaluate("Object.keys(localStorage).length") == 0
        assert page.exceptions == []


async def test_a_server_with_another_database_signs_the_page_out(
    todo: ServedApp, tmp_path: Path
) -> None:
    async with browser(tmp_path / "profile") as chromium:
        page = await chromium.open(todo.url)
        await page.click("#sign-in")
        await is_live(page)
        await add(page, "Gone")
        await sees(page, "Gone")
        todo.kill()
        todo.forget()
        todo.start()
        await page.wait_for("!document.getElementById('welcome').hidden")
        await page.click("#sign-in")
        await is_live(page)
        await sees(page)
        await add(page, "New")
        await sees(page, "New")
        assert page.exceptions == []
