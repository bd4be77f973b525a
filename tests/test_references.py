"""Texts name what is there: files, modules, decisions and headings that docstrings, comments and
pages point to."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pylon"
FOLDERS = ("pylon", "tests", "bench", "examples", "scripts", "docs")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(
    each for name in ("pylon", "tests", "bench") for each in (ROOT / name).rglob("*.py")
)

PLACES = {*FOLDERS, *(each.name for each in PACKAGE.iterdir() if each.is_dir())}
"""What the first part of a path must be, for a text with a slash to be one: there are media types,
addresses and alternatives, too."""

PATH = re.compile(r"(?<![\w./<{*-])[\w.]+(?:/[\w.*-]+)+/?(?![\w/<{*])")
FILE = re.compile(r"(?<![\w./<{*-])\w+\.(?:py|md|sql)(?![\w/])")
MODULE = re.compile(r"(?<![\w./])pylon(?:\.\w+)+")
DECISION = re.compile(r"\b[Dd]ecisions?[ /](\d{4})\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- what texts point to -------------------------------------------------------------------------


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """What a file tells its readers, with the line where it begins: a page as a whole, of a module
    the comments and the strings that stand by themselves."""
    source = path.read_text("utf-8")
    if path.suffix == ".md":
        yield 1, source
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, str(node.value.value)


def lost(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Names in a text of what is not there, and where in the text."""
    for match in PATH.finditer(text):
        name = match.group().rstrip("/.")
        if name.split("/")[0] in PLACES and not is_path(name, path.parent):
            yield match.start(), name
    for match in FILE.finditer(text):
        if match.group() not in file_names():
            yield match.start(), match.group()
    for match in MODULE.finditer(text):
        parts = match.group().split(".")
        if is_path(f"pylon/{parts[1]}", ROOT) and not is_path("/".join(parts), ROOT):
            *most, last = parts
            if not is_path(f"{'/'.join(most)}.{last}", ROOT):
                yield match.start(), match.group()
    for match in DECISION.finditer(text):
        if not is_path(f"docs/decisions/{match.group(1)}", ROOT):
            yield match.start(), match.group()


def is_path(name: str, beside: Path) -> bool:
    """Whether a path leads to a file, a folder, a module, a name in one, or a decision."""
    for start in (ROOT, PACKAGE, beside):
        target = start / name
        if target.exists() or target.with_name(f"{target.name}.py").is_file():
            return True
        if any(start.glob(f"{name}-*.md" if name[-4:].isdigit() else name)):
            return True
        module, _, inside = target.name.partition(".")
        file = target.with_name(f"{module}.py")
        if file.is_file() and inside.split(".")[0] in names_of(file):
            return True
    return False


@cache
def names_of(module: Path) -> frozenset[str]:
    """What a module defines, as names in a text."""
    return frozenset(re.findall(r"^(?:class |(?:async )?def )?(\w+)", module.read_text(), re.M))


@cache
def file_names() -> frozenset[str]:
    inside = (path for name in FOLDERS for path in (ROOT / name).rglob("*.*"))
    return frozenset(path.name for path in (*inside, *ROOT.glob("*.*")))


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=named)
def test_what_texts_name_is_there(path: Path) -> None:
    faults = [
        f"{named(path)}:{line + text.count(chr(10), 0, place)}: {name}"
        for line, text in texts(path)
        for place, name in lost(path, text)
    ]
    assert faults == [], "\n".join(faults)


# --- links of pages ------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """As GitHub makes them: small letters, hyphens for spaces, nothing else but `_`."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    return frozenset(map(anchor, HEADING.findall(FENCE.sub("", page.read_text("utf-8")))))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        address, _, place = link.partition("#")
        if ":" in address:
            continue
        target = (page.parent / address).resolve() if address else page
        if not target.exists() or (place and place not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see `data/write.py`, data/write and pylon/data/", []),
        ("see `data/wrote.py`", ["data/wrote.py"]),
        ("`data/write.Transaction` and `data/write.Transport`", ["data/write.Transport"]),
        ("decision 0007 and docs/decisions/0007", []),
        ("Decision 9999", ["Decision 9999"]),
        ("text/plain, either/or, /api/sync/pull and https://x.example/data/nope.html", []),
        ("`pylon.tasks.Tasks`, `pylon.door`, `pylon.tasks.Dasks`", ["pylon.tasks.Dasks"]),
        ("in `write.py`, not in `wrote.py`", ["wrote.py"]),
    ],
)
def test_the_judge(text: str, missing: list[str]) -> None:
    assert [name for _, name in lost(Path(__file__), text)] == missing
