"""The library is an extra, and what it decodes has room to nest."""

from __future__ import annotations

import sys

import pytest

from pylon.crdt.binding import document_class
from pylon.crdt.deep_stack import DEEP_STACK
from pylon.errors import PylonError


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pylon.crdt.")]:
        if name.rpartition(".")[2] in ("row_document", "items", "text", "tree"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "loro", None)
    with pytest.raises(PylonError) as caught:
        document_class()
    assert (caught.value.status, caught.value.code) == (501, "CRDT_UNAVAILABLE")
    assert "crdt" in (caught.value.hint or "")


def test_the_deep_stack_returns_and_raises() -> None:
    assert DEEP_STACK.run(lambda: 7) == 7

    def fail() -> None:
        raise BaseException("as the binding does")

    with pytest.raises(BaseException, match="as the binding does"):
        DEEP_STACK.run(fail)
