"""docs/tutorial.md, done as a reader does it: files are written while `pylon dev` runs, commands
are typed, answers compared, and its page is opened in two windows."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.dev import Dev
from tests.docs.shell import Block, Shell, blocks, commands
from tests.examples.chromium import CHROMIUM, Page, browser

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
NOT_RUN = "pip install pylon-server"
"""The only block that is not: a test installs nothing."""

RESTARTS_AT = (".py", ".env")

LINES = "[...document.querySelectorAll('li')].map((each) => each.textContent).join()"
STATUS = "document.querySelector('[role=status]').textContent"


class Reader:
    """Somebody who follows the page in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dev: Dev | None = None
        self._shell: Shell | None = None

    @property
    def port(self) -> int:
        assert self._dev is not None
        return self._dev.port

    def do(self, block: Block) -> None:
        """Type the commands of a block, or write its file."""
        if block.language != "console":
            if NOT_RUN not in block.text:
                self._write(block)
        elif block.text.startswith("$ pylon dev"):
            ((_, expected),) = commands(block.text)
            self._dev = Dev(self._folder)
            self._shell = Shell(self._folder, port=self._dev.port)
            assert self._dev.first == expected
        else:
            assert self._shell is not None
            self._shell.check(block.text)

    def stop_dev(self) -> None:
        assert self._dev is not None
        self._dev.stop()

    def start_dev_again(self) -> None:
        self._dev = Dev(self._folder, self.port)

    def close(self) -> None:
        """End what was started."""
        if self._shell is not None:
            self._shell.close()
        if self._dev is not None:
            self._dev.stop()

    def _write(self, block: Block) -> None:
        """Files are named in the paragraph before; they come whole, as an editor saves them."""
        (name,) = re.findall(r"[Ii]n(?:to)? `([\w./]+)`", block.before)
        file = self._folder / name
        text = block.text
        if block.language == "python" and file.exists():
            text = with_classes(file.read_text("utf-8"), text)
        written = self._folder.parent / "written"
        written.write_text(text)
        os.replace(written, file)
        if self._dev is not None and file.name.endswith(RESTARTS_AT):
            self._dev.wait_until_served()


def with_classes(source: str, block: str) -> str:
    """A file with the classes of a block in the place of those of the same names, new ones last."""
    for node in ast.parse(block).body:
        assert isinstance(node, ast.ClassDef)
        lines = source.splitlines(keepends=True)
        for there in ast.parse(source).body:
            if isinstance(there, ast.ClassDef) and there.name == node.name:
                del lines[there.decorator_list[0].lineno - 1 : there.end_lineno]
        text = block.splitlines(keepends=True)[node.decorator_list[0].lineno - 1 : node.end_lineno]
        source = "".join([*lines, "\n\n", *text])
    return source


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "expenses"
    folder.mkdir()
    someone = Reader(folder)
    yield someone
    someone.close()


async def test_the_tutorial_works_as_it_stands(reader: Reader, tmp_path: Path) -> None:
    for block in blocks(TUTORIAL):
        reader.do(block)
    if CHROMIUM is None:
        pytest.skip("all but the page works; no Chromium on this machine")
    async with browser(tmp_path / "profile") as chromium:
        address = f"http://localhost:{reader.port}/"
        ann = await chromium.open(f"{address}?as=ann")
        carol = await chromium.open(f"{address}?as=carol")
        for page in (ann, carol):
            await page.wait_for(f"{STATUS}.includes('live') && {LINES}.includes('Hotel Terminus')")

        await add(ann, "Taxi", "12.50")
        await carol.wait_for(f"{LINES}.includes('Taxi: 12.50, open')")
        await approve(ann, "Taxi")
        await ann.wait_for(f"{STATUS}.includes('olicy') && {LINES}.includes('Taxi: 12.50, open')")
        await ann.click("[role=status]")
        await ann.wait_for(f"{STATUS} === 'ann · live'")
        await approve(carol, "Taxi")
        await ann.wait_for(f"{LINES}.includes('Taxi: 12.50, approved')")

        reader.stop_dev()
        await ann.wait_for(f"{STATUS}.includes('offline')")
        await add(ann, "Coffee", "2.20")
        await add(ann, "Cake", "3.80")
        reader.start_dev_again()
        await carol.wait_for(f"{LINES}.includes('Coffee: 2.20') && {LINES}.includes('Cake: 3.80')")
        for page in (ann, carol):
            assert (page.exceptions, page.violations) == ([], [])


async def add(page: Page, what: str, amount: str) -> None:
    """Fill in the form and send it."""
    await page.evaluate("document.querySelector('[name=what]').focus()")
    await page.type(what)
    await page.evaluate("document.querySelector('[name=amount]').focus()")
    await page.type(amount)
    await page.press_enter()


async def approve(page: Page, what: str) -> None:
    """Press the button beside an expense."""
    await page.evaluate(
        "[...document.querySelectorAll('li')]"
        f".find((each) => each.textContent.startsWith({what!r})).querySelector('button').click()"
    )


def test_no_block_is_left_out() -> None:
    """A block that the test does not run, or run otherwise than a reader would, is a fault here."""
    languages = {block.language for block in blocks(TUTORIAL)}
    assert languages == {"sh", "python", "console", "csv", "html", "js"}
    assert TUTORIAL.count("\n```") == 2 * len(blocks(TUTORIAL))
    assert TUTORIAL.count(NOT_RUN) == 1
