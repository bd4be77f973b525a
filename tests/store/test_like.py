"""LIKE without a database, held against that of SQLite where texts have no NUL."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.store.like import is_like
from tests.policy.worlds import effort

patterns = st.lists(
    st.sampled_from(("%", "_", "a", "B", ".", r"\%", r"\_", r"\\", "é", "É", "(", "\n", "+", "]"))
).map("".join)
texts = st.text("aAbB.%_\\éÉ(\n+]", max_size=12)


@effort(500)
@given(text=texts, pattern=patterns)
def test_it_says_what_sqlite_says(text: str, pattern: str) -> None:
    asked = apsw.Connection(":memory:").execute("SELECT ? LIKE ? ESCAPE '\\'", (text, pattern))
    assert is_like(text, pattern) == bool(asked.fetchall()[0][0])


@pytest.mark.parametrize(
    ("text", "pattern", "is_found"),
    [
        ("a\0b", "%\0%", True),
        ("a\0b", "a_B", True),
        ("ab", "%\0%", False),
        ("\0", "_", True),
        ("x\0y", "%Y", True),
        ("x\0y", "x", False),
    ],
)
def test_a_nul_is_a_sign_as_any_other(text: str, pattern: str, is_found: bool) -> None:
    assert is_like(text, pattern) is is_found
