"""Every `curl` line of every page works as it stands, and answers what the page says; so does
`pylon policy test`.

Lines without an answer on the page must not answer an error. Each page has a guest of its own
(`$TOKEN`), an administrator (`$PYLON_ADMIN_TOKEN`), and the rows of `ROWS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.shell import Block, Shell, blocks, commands, fits
from tests.server import ADMIN_TOKEN, Server, serving

DOCS = Path(__file__).parents[2] / "docs"
DEMO = Path(__file__).with_name("demo_app.py")

ELSEWHERE = ("tutorial.md", "deploy.md")
"""Pages whose commands have a test of their own."""

FEATURES = (
    *("rows", "queries", "bulk", "search", "relations", "auth", "policies", "schema"),
    *("evolution", "hooks", "crdt", "presence", "sync-protocol", "openapi", "clients"),
    *("http", "operating-store", "operating-sync"),
)
"""Pages of which each has a line to try."""

TODOS = [
    {"title": "Buy milk", "createdAt": "2026-01-01T08:00:00Z"},
    {"title": "Call Ann", "createdAt": "2026-01-01T09:00:00Z"},
    {"title": "Water the plants", "createdAt": "2026-01-02T08:00:00Z"},
]
PROJECT = "01980000-0000-7000-8000-000000000001"
ROWS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "queries.md": {
        "Todo": TODOS,
        "Project": [{"id": PROJECT, "title": "House"}],
        "Task": [{"title": "Paint the door", "projectId": PROJECT}],
    },
    "rows.md": {"Todo": [{"title": "Apples"}, {"title": "Bread"}]},
    "search.md": {
        "Product": [
            {"name": "Red shoe", "description": "For walking", "brand": "Acme", "price": 49},
            {"name": "Blue hat", "description": "For the sun", "brand": "Acme", "price": 20},
        ]
    },
    "sync-protocol.md": {"Todo": [{"title": "Buy milk"}]},
}
"""What the guest of a page has written before."""

PEOPLE = """id,email,displayName
ann,ann@example.com,Ann
kim,Kim@Example.org,Kim
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo app in dev mode, with two users."""
    database: Path = tmp_path_factory.mktemp("docs") / "demo.db"
    with serving(DEMO, database, env={"PYLON_DEV_MODE": "1"}) as server:
        with server.client(ADMIN_TOKEN, headers={"content-type": "text/csv"}) as admin:
            imported = admin.post("/api/import?entity=User", content=PEOPLE)
            assert imported.json()["failed"] == 0, imported.text
        yield server


def lines(page: Path) -> list[tuple[str, str]]:
    """The commands of a page that speak to a server, or set what those after them use."""
    text = page.read_text("utf-8")
    found = [
        each
        for block in blocks(text)
        if block.language in ("console", "sh")
        for each in commands(typed(block))
        if re.match(r"curl |[A-Z]+=|pylon policy test ", each[0])
    ]
    inline = re.findall(r"`(curl [^`]*)`", text)
    return found + [(each, "") for each in inline]


def typed(block: Block) -> str:
    """A block with `$` before each command: in `sh` that is each line that begins anew."""
    if block.language == "console":
        return block.text
    return re.sub(r"(?<!\\\n)^(?=\S)", "$ ", block.text, flags=re.M)


PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.name not in ELSEWHERE and lines(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_lines_work(demo: Server, tmp_path: Path, page: Path) -> None:
    if page.name == "hooks.md":
        code = [each.text for each in blocks(page.read_text("utf-8")) if each.language == "python"]
        (tmp_path / "app.py").write_text("\n".join(code))
        env = {"PYLON_DEV_MODE": "1"}
        with serving(tmp_path / "app.py", tmp_path / "hooks.db", env=env) as server:
            follow(server, tmp_path, page)
    else:
        follow(demo, tmp_path, page)


def follow(server: Server, folder: Path, page: Path) -> None:
    """Type the lines of a page as a guest of its own."""
    with server.client() as client:
        token = client.post("/api/auth/guest").json()["token"]
    with server.client(token) as guest:
        for entity, rows in ROWS.get(page.name, {}).items():
            for row in rows:
                made = guest.post(f"/api/entities/{entity}", json=row)
                assert made.status_code == 201, made.text
    (folder / "people.csv").write_text("email,name\nann@example.com,Ann\nbob@example.com,Bob\n")
    env = {"TOKEN": token, "PYLON_ADMIN_TOKEN": ADMIN_TOKEN}
    shell = Shell(folder, port=server.port, env=env)
    try:
        for command, expected in lines(page):
            printed = shell.run(command.replace("curl -N", "curl -sN --max-time 1"))
            told = f"$ {command}\nthe page says:\n{expected}\nit printed:\n{printed}"
            if expected:
                assert fits(printed, expected), told
            else:
                assert '"error"' not in printed, told
                assert "curl: " not in printed, told
    finally:
        shell.close()


def test_each_page_of_a_feature_has_a_line_to_try() -> None:
    assert {f"{name}.md" for name in FEATURES} <= {page.name for page in PAGES}
