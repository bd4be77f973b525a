"""Every diagnostic code that the folder can give stands in `docs/schema.md`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_code_is_documented() -> None:
    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    code = re.compile(r'"([A-Z]+(?:_[A-Z]+)+)"')
    given: set[str] = set()
    for source in (ROOT / "pylon" / "schema").glob("*.py"):
        given.update(code.findall(source.read_text(encoding="utf-8")))
    given |= {"QUERY_NAME_EMPTY", "QUERY_DUPLICATE", "ACTION_NAME_EMPTY", "ACTION_DUPLICATE"}
    assert len(given) > 40
    assert {code for code in given if f"`{code}`" not in page} == set()
