"""The page of docs/sync-js.md, as it stands there, in a real browser."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.examples.chromium import CHROMIUM, browser
from tests.examples.served import EXAMPLES, ServedApp

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PAGE = Path(__file__).parents[2] / "docs" / "sync-js.md"
TODO = EXAMPLES / "todo"
NOTES = "[...document.querySelectorAll('li')].map((each) => each.textContent).join()"
STATUS = "document.querySelector('[role=status]').textContent"


def block(language: str) -> str:
    """The only block of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An app of the todo example's rows and the page of the docs."""
    folder = tmp_path / "notes"
    (folder / "public").mkdir(parents=True)
    shutil.copy(TODO / "app.py", folder)
    for name in ("sync.js", "sync-disk.js"):
        shutil.copy(TODO / "public" / name, folder / "public")
    (folder / "public" / "index.html").write_text(block("html"))
    (folder / "public" / "notes.js").write_text(block("js"))
    return folder


async def test_the_page_of_the_docs_is_live_and_works_without_a_server(
    folder: Path, tmp_path: Path
) -> None:
    app = ServedApp(folder, tmp_path / "notes.db")
    app.start()
    try:
        async with browser(tmp_path / "profile") as chromium:
            one = await chromium.open(app.url)
            await one.wait_for(f"{STATUS}.includes('live')")
            two = await chromium.open(app.url)
            await two.wait_for(f"{STATUS}.includes('live')")
            await one.evaluate("document.querySelector('input').focus()")
            await one.type("First")
            await one.press_enter()
            await two.wait_for(f"{NOTES} === 'First'")
            app.kill()
            await one.wait_for(f"{STATUS}.includes('offline')")
            await one.type("Second")
            await one.press_enter()
            await two.wait_for(f"{NOTES}.includes('Second')")
            await two.click("li")
            await one.wait_for(f"{NOTES} === 'Second'")
            app.start()
            await one.wait_for(f"{STATUS}.trim() === 'live'")
            assert await one.evaluate(NOTES) == "Second"
            for page in (one, two):
                assert (page.exceptions, page.violations) == ([], [])
    finally:
        app.stop()


async def test_every_name_of_the_page_is_there(folder: Path, tmp_path: Path) -> None:
    told = PAGE.read_text("utf-8")
    source = (folder / "public" / "sync.js").read_text("utf-8")
    for name in re.findall(r"`(?:await )?sync\.(?!js)(\w+)", told):
        assert re.search(rf"^  (async |get )?{name}\(|^  {name}[ ;=]", source, re.M), name
    for name in re.findall(r"^\| `(\w+)\(name", told, re.M):
        assert re.search(rf"^export (async )?function {name}\(", source, re.M), name
