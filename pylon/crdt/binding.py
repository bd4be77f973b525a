"""The door to the `loro` library, an extra: loaded at its first use, named when missing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pylon.errors import PylonError

if TYPE_CHECKING:
    from pylon.crdt.row_document import Document


def document_class() -> type[Document]:
    """The `Document` class; 501 `CRDT_UNAVAILABLE` where the library is not installed."""
    try:
        found: type[Document] = import_module("pylon.crdt.row_document").Document
    except ImportError as error:
        raise PylonError(
            501,
            "CRDT_UNAVAILABLE",
            "This server cannot edit rows collaboratively: the loro library is not installed.",
            "pip install 'pylon-server[crdt]'",
        ) from error
    return found
