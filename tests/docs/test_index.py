"""docs/README.md leads to every page, once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_index_once() -> None:
    linked = re.findall(r"\]\(([\w/.-]+\.md)\)", (DOCS / "README.md").read_text("utf-8"))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    pages = {page for page in pages if not page.startswith("decisions/")} - {"README.md"}
    assert sorted(linked) == sorted(pages)


def test_the_readme_leads_to_the_tutorial_and_the_index() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "(docs/tutorial.md)" in readme
    assert "(docs/README.md)" in readme
