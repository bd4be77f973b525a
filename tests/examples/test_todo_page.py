"""The todo example in a real browser: windows, a killed server, no network, two browsers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.chromium import CHROMIUM, Browser, Page, browser
from tests.examples.served import EXAMPLES, ServedApp

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

TITLES = "[...document.querySelectorAll('#todos li span')].map((each) => each.textContent)"
WAITING = "document.getElementById('waiting').textContent"


@pytest.fixture
def todo(tmp_path: Path) -> Iterator[ServedApp]:
    """The example on a database of its own."""
    served = ServedApp(EXAMPLES / "todo", tmp_path / "todo.db")
    served.start()
    yield served
    served.stop()


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(tmp_path / "profile") as running:
        yield running


async def add(page: Page, title: str) -> None:
    """Add a todo as a person does: type, Enter; and wait until it is shown, if not yet sent."""
    await page.evaluate("document.getElementById('title').focus()")
    await page.type(title)
    await page.press_enter()
    await page.wait_for(f"{TITLES}.includes({title!r})")


async def sees(page: Page, *titles: str) -> None:
    """Wait until exactly these todos are shown, in this order."""
    await page.wait_for(f"JSON.stringify({TITLES}) === JSON.stringify({list(titles)!r})")


async def is_in_state(page: Page, state: str) -> None:
    """Wait until the page says how it is connected."""
    await page.wait_for(f"document.getElementById('connection').dataset.state === '{state}'")


async def is_live(page: Page) -> None:
    """Wait until the page is connected and all it has done is stored."""
    await is_in_state(page, "live")
    await page.wait_for(f"!{WAITING}.includes('change')")
    await page.wait_for("!document.querySelector('#todos small:not([hidden])')")


async def signed_in(chromium: Browser, todo: ServedApp) -> Page:
    page = await chromium.open(todo.url)
    await page.click("#sign-in")
    await is_live(page)
    return page


async def token_of(page: Page) -> str:
    token: str = await page.evaluate("JSON.parse(localStorage['todo-app:account']).token")
    return token


async def stored(todo: ServedApp, page: Page) -> list[str]:
    """The titles that the server has for this page's user."""
    headers = {"authorization": f"Bearer {await token_of(page)}"}
    async with httpx.AsyncClient(base_url=todo.url, headers=headers) as client:
        rows: list[dict[str, Any]] = (await client.get("api/entities/Todo")).json()["data"]
    return [row["title"] for row in rows]


def is_clean(*pages: Page) -> None:
    for page in pages:
        assert page.exceptions == []
        assert page.violations == []


async def test_two_windows_follow_each_other(chromium: Browser, todo: ServedApp) -> None:
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
    await one.wait_for("document.getElementById('count').textContent === '1 of 2 done'")

    await one.click("#todos li:first-child .delete")
    await sees(two, "Call <b>Ada</b>")
    await sees(one, "Call <b>Ada</b>")
    is_clean(one, two)


async def test_what_is_done_without_the_server_is_sent_once_and_in_order(
    chromium: Browser, todo: ServedApp
) -> None:
    one = await signed_in(chromium, todo)
    two = await chromium.open(todo.url)
    await is_live(two)
    await add(one, "First")
    await is_live(one)
    await sees(two, "First")

    todo.kill()
    for page in (one, two):
        await is_in_state(page, "offline")
    await add(one, "Second")
    await sees(two, "First", "Second")  # windows share what waits, without a server
    await add(two, "Third")
    await sees(one, "First", "Second", "Third")
    await one.click("#todos li:first-child input")
    await two.wait_for(f"{WAITING}.includes('3 changes')")

    todo.start()
    for page in (one, two):
        await page.evaluate("dispatchEvent(new Event('online'))")
        await is_live(page)
        await sees(page, "First", "Second", "Third")
        await page.wait_for("document.querySelector('#todos li:first-child[data-done]')")
    assert await stored(todo, one) == ["First", "Second", "Third"]
    is_clean(one, two)


async def test_a_page_reloads_without_the_server_and_keeps_what_waits(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "Kept")
    await is_live(page)
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await page.wait_for("navigator.serviceWorker.controller")
    todo.kill()
    await is_in_state(page, "offline")
    await add(page, "Waits")
    await page.wait_for(f"{WAITING}.includes('1 change kept here')")

    await page.go(todo.url + "?again")
    await sees(page, "Kept", "Waits")
    await page.wait_for(f"{WAITING}.includes('1 change kept here')")
    todo.start()
    await page.evaluate("dispatchEvent(new Event('online'))")
    await is_live(page)
    await sees(page, "Kept", "Waits")
    assert await stored(todo, page) == ["Kept", "Waits"]
    is_clean(page)


async def test_typing_goes_on_while_a_request_is_under_way(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await page.evaluate(
        "(() => { const send = fetch; globalThis.released = new Promise((r) => { release = r; });"
        " globalThis.fetch = async (...what) => { const answer = await send(...what);"
        " if (String(what[0]).includes('push')) await released; return answer; } })()"
    )
    await add(page, "Once")
    await page.press_enter()  # the field is empty: a second Enter adds nothing
    assert await page.evaluate("document.getElementById('title').value") == ""
    await page.type("Half a sen")
    await page.wait_for("document.querySelector('#todos li')")
    await page.evaluate("release()")
    await is_live(page)
    await page.type("tence")
    assert await page.evaluate("document.getElementById('title').value") == "Half a sentence"
    await page.press_enter()
    await sees(page, "Once", "Half a sentence")
    await is_live(page)
    assert await stored(todo, page) == ["Once", "Half a sentence"]
    is_clean(page)


async def test_an_answer_that_is_lost_does_not_double(chromium: Browser, todo: ServedApp) -> None:
    page = await signed_in(chromium, todo)
    await page.evaluate(
        "(() => { const send = fetch; let lost = 0; globalThis.fetch = async (...what) => {"
        " const answer = await send(...what);"
        " if (String(what[0]).includes('push') && lost++ < 2) throw new TypeError('lost');"
        " return answer; } })()"
    )
    await add(page, "Once")
    await is_in_state(page, "offline")
    await is_live(page)
    await sees(page, "Once")
    assert await stored(todo, page) == ["Once"]
    is_clean(page)


async def test_a_change_that_is_refused_is_told_and_undone(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "Deleted elsewhere")
    await is_live(page)
    await page.network(offline=True)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    await is_in_state(page, "offline")
    await page.click("#todos li:first-child input")
    await add(page, "Stays")

    headers = {"authorization": f"Bearer {await token_of(page)}"}
    async with httpx.AsyncClient(base_url=todo.url, headers=headers) as elsewhere:
        row = (await elsewhere.get("api/entities/Todo")).json()["data"][0]["id"]
        assert (await elsewhere.delete(f"api/entities/Todo/{row}")).is_success
    await page.network(offline=False)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await page.wait_for("document.querySelector('#refused li')")
    assert "was not changed: it has been deleted elsewhere" in await page.evaluate(
        "document.getElementById('refused').textContent"
    )
    await sees(page, "Stays")
    await is_live(page)

    await page.go(todo.url + "?again")  # it is told until it is dismissed
    await page.wait_for("document.querySelector('#refused li')")
    await page.click("#refused button:last-child")
    await page.wait_for("!document.querySelector('#refused li')")
    assert await stored(todo, page) == ["Stays"]
    is_clean(page)


async def test_one_window_sends_at_a_time(chromium: Browser, todo: ServedApp) -> None:
    """Else a change that was refused to one could be sent by another, and be done after all."""
    one = await signed_in(chromium, todo)
    two = await chromium.open(todo.url)
    await is_live(two)
    await one.evaluate(
        "(() => { const send = fetch; const released = new Promise((r) => { release = r; });"
        " globalThis.fetch = async (...what) => { const answer = await send(...what);"
        " if (String(what[0]).includes('push')) { globalThis.held = true; await released; }"
        " return answer; } })()"
    )
    await two.evaluate(
        "(() => { const send = fetch; globalThis.pushed = 0; globalThis.fetch = (...what) => {"
        " pushed += String(what[0]).includes('push'); return send(...what); };"
        " setInterval(async () => { const { pending } = await navigator.locks.query();"
        " globalThis.waiting = pending.length; }, 20); })()"
    )
    await add(one, "First")
    await one.wait_for("globalThis.held")
    await add(two, "Second")
    await two.wait_for("globalThis.waiting")
    assert await two.evaluate("pushed") == 0
    await one.evaluate("release()")
    for page in (one, two):
        await is_live(page)
        await sees(page, "First", "Second")
    assert await stored(todo, one) == ["First", "Second"]
    is_clean(one, two)


async def test_the_kept_page_leaves_when_another_app_is_served_there(
    chromium: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "app"
    shutil.copytree(EXAMPLES / "todo", folder, ignore=shutil.ignore_patterns(".pylon"))
    served = ServedApp(folder, tmp_path / "app.db")
    served.start()
    try:
        page = await chromium.open(served.url)
        await page.wait_for("navigator.serviceWorker.controller")
        (folder / "public" / "sw.js").unlink()
        (folder / "public" / "index.html").write_text("<!doctype html><p>Another app</p>")
        await page.go(served.url + "?again")
        assert await page.evaluate("document.body.innerText") == "Another app"
        await page.evaluate(
            "void setInterval(async () => { const all = await navigator.serviceWorker"
            ".getRegistrations(); globalThis.left = !all.length && !(await caches.keys()).length;"
            " }, 20)"
        )
        await page.wait_for("globalThis.left")
    finally:
        served.stop()


async def test_rows_that_must_be_fetched_anew_take_the_place_of_those_on_disk(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "Old")
    await add(page, "New")
    await is_live(page)
    await page.wait_for("navigator.serviceWorker.controller")
    await page.network(offline=True)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    await is_in_state(page, "offline")
    headers = {"authorization": f"Bearer {await token_of(page)}"}
    async with httpx.AsyncClient(base_url=todo.url, headers=headers) as elsewhere:
        row = (await elsewhere.get("api/entities/Todo")).json()["data"][0]["id"]
        await elsewhere.delete(f"api/entities/Todo/{row}")
    await page.evaluate(  # a cursor that the server refuses by 410, once
        "(() => { const send = fetch; globalThis.fetch = (to, how) => {"
        " if (/since=[1-9]/.test(to)) { globalThis.fetch = send;"
        " to = new URL('api/sync/pull?since=999999999', document.baseURI); }"
        " return send(to, how); } })()"
    )
    await page.network(offline=False)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await is_live(page)
    await sees(page, "New")
    todo.kill()
    await page.go(todo.url + "?again")
    await sees(page, "New")
    is_clean(page)


@pytest.mark.parametrize(
    "lacks",
    [
        "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })",
        "IDBFactory.prototype.open = () => { throw new Error('a private window') }",
    ],
)
async def test_browsers_that_lack_something_still_have_a_list(
    chromium: Browser, todo: ServedApp, lacks: str
) -> None:
    page = await chromium.open("about:blank")
    await page.run_first(lacks)
    await page.go(todo.url)
    await page.click("#sign-in")
    await is_live(page)
    await add(page, "One")
    await is_live(page)
    todo.kill()
    await is_in_state(page, "offline")
    await add(page, "Two")
    await page.wait_for(f"{WAITING}.includes('1 change kept')")
    todo.start()
    await page.evaluate("dispatchEvent(new Event('online'))")
    await is_live(page)
    await sees(page, "One", "Two")
    assert await stored(todo, page) == ["One", "Two"]
    is_clean(page)


async def test_a_second_browser_joins_by_a_link_that_is_good_once(
    chromium: Browser, todo: ServedApp, tmp_path: Path
) -> None:
    one = await signed_in(chromium, todo)
    await add(one, "Shared")
    await one.click("#share")
    await one.wait_for("document.getElementById('shared').open")
    link = await one.evaluate("document.getElementById('shared-link').value")
    assert await token_of(one) not in link

    async with browser(tmp_path / "another") as elsewhere:
        two = await elsewhere.open(link)
        assert "pair" not in await two.evaluate("location.href")
        assert await two.evaluate("!document.getElementById('join').hidden"), "it asks first"
        await two.click("#join-yes")
        await is_live(two)
        await sees(two, "Shared")
        await add(two, "From the other browser")
        await sees(one, "Shared", "From the other browser")
        assert await token_of(two) != await token_of(one)

        await two.click("#sign-out")
        await two.wait_for("!document.getElementById('welcome').hidden")
        await two.go(link.replace("#", "?again#"))
        await two.click("#join-yes")
        await two.wait_for("document.getElementById('problem').dataset.code")
        problem = "document.getElementById('problem').dataset.code"
        assert await two.evaluate(problem) == "PAIRING_CODE_INVALID"
        is_clean(two)
    await is_live(one)
    is_clean(one)


async def test_ones_own_link_in_the_same_browser_changes_nothing(
    chromium: Browser, todo: ServedApp
) -> None:
    one = await signed_in(chromium, todo)
    await add(one, "Here")
    await one.click("#share")
    await one.wait_for("document.getElementById('shared').open")
    two = await chromium.open(await one.evaluate("document.getElementById('shared-link').value"))
    before = await token_of(two)
    await two.click("#join-yes")
    await two.wait_for("!document.getElementById('list').hidden")
    await sees(two, "Here")
    assert await token_of(two) == before
    is_clean(one, two)


async def test_what_the_guest_does_survives_a_reload_and_ends_with_signing_out(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "Stay")
    await is_live(page)
    await page.go(todo.url + "?again")
    await sees(page, "Stay")
    await is_live(page)
    await page.click("#sign-out")
    await page.wait_for("!document.getElementById('welcome').hidden")
    assert await page.evaluate("Object.keys(localStorage).length") == 0
    await page.click("#sign-in")
    await is_live(page)
    await sees(page)
    is_clean(page)


async def test_a_server_with_another_database_signs_the_page_out_and_shows_what_was_not_sent(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "Gone")
    await is_live(page)
    todo.kill()
    await is_in_state(page, "offline")
    await add(page, "Unsent")
    todo.forget()
    todo.start()
    await page.wait_for("!document.getElementById('welcome').hidden")
    assert "“Unsent”" in await page.evaluate("document.getElementById('problem').textContent")
    await page.click("#sign-in")
    await is_live(page)
    await sees(page)
    await add(page, "New")
    await sees(page, "New")
    is_clean(page)


async def test_two_thousand_todos_are_shown_and_one_change_touches_one(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    changes = [
        {
            "entity": "Todo",
            "row_id": f"{number:040x}",
            "kind": "insert",
            "data": {"title": f"Todo {number}"},
        }
        for number in range(2_000)
    ]
    headers = {"authorization": f"Bearer {await token_of(page)}"}
    async with httpx.AsyncClient(base_url=todo.url, headers=headers, timeout=60) as elsewhere:
        answer = await elsewhere.post("api/sync/push", json={"changes": changes})
    assert answer.json()["applied"] == 2_000
    await page.wait_for("document.querySelectorAll('#todos li').length === 2000")
    await page.evaluate(
        "(() => { globalThis.touched = new Set(); new MutationObserver((all) => {"
        " for (const { target } of all) touched.add(target.closest?.('li')?.dataset.id ?? 'list');"
        "}).observe(document.getElementById('todos'),"
        " { subtree: true, childList: true, attributes: true, characterData: true }); })()"
    )
    await page.click("#todos li:nth-child(1000) input")
    await is_live(page)
    await page.wait_for("document.querySelector('#todos li:nth-child(1000)[data-done]')")
    assert await page.evaluate("[...touched]") == [f"{999:040x}"]

    await page.go(todo.url + "?again")
    await page.wait_for("document.querySelectorAll('#todos li').length === 2000")
    is_clean(page)


async def test_everything_can_be_hit_with_a_finger_and_has_a_name(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await page.size(360, 640)
    await add(page, "One")
    await add(page, "W" * 300)
    await is_live(page)
    await page.click("#todos input")
    await page.wait_for("!document.getElementById('clear').hidden")
    small = await page.evaluate(
        "[...document.querySelectorAll('button, input[type=text], #todos label')].filter(each => {"
        " const { width, height } = each.getBoundingClientRect();"
        " return width && Math.min(width, height) < 43.9; }).map((each) => each.outerHTML)"
    )
    assert small == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = await page.evaluate(
        "[...document.querySelectorAll('button, input')].filter((each) =>"
        " !(each.getAttribute('aria-label') || each.textContent.trim()"
        " || each.labels?.[0]?.textContent.trim())).map((each) => each.outerHTML)"
    )
    assert nameless == []


async def test_the_keyboard_goes_on_where_a_todo_was_deleted(
    chromium: Browser, todo: ServedApp
) -> None:
    page = await signed_in(chromium, todo)
    await add(page, "One")
    await add(page, "Two")
    await is_live(page)
    await page.evaluate("document.querySelector('#todos .delete').focus()")
    await page.click("#todos .delete")
    await sees(page, "Two")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert await page.evaluate(focused) == "Delete “Two”"
    await page.click("#todos .delete")
    await sees(page)
    assert await page.evaluate("document.activeElement.id") == "title"
    await page.wait_for("document.getElementById('said').textContent === 'Deleted Two'")


async def test_the_three_things_to_try_are_ticked_as_they_are_tried(
    chromium: Browser, todo: ServedApp
) -> None:
    tried = "[...document.querySelectorAll('#tour li')].map((each) => +('tried' in each.dataset))"
    page = await signed_in(chromium, todo)
    assert await page.evaluate(tried) == [0, 0, 0]
    assert await page.evaluate("!document.getElementById('tour').hidden")
    await chromium.open(todo.url)
    await page.wait_for(f"{tried}.join() === '1,0,0'")
    todo.kill()
    await page.wait_for(f"{tried}.join() === '1,1,0'")
    todo.start()
    await page.evaluate("dispatchEvent(new Event('online'))")
    await page.wait_for(f"{tried}.join() === '1,1,1'")
    is_clean(page)
