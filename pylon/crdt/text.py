"""Setting a text by its difference, and merging two edits of one text.

A difference keeps what others write at the same time, and keeps the history small.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from loro import ExportMode, LoroDoc, LoroText

from pylon import limits
from pylon.crdt.steps import Importer


def set_text(container: LoroText, value: str) -> None:
    """Make the container read `value`, by as small a change as is found in bounded time."""
    try:
        container.update(value, timeout_ms=limits.DOCUMENT_DIFF_MILLISECONDS)
        return
    except ValueError:  # the library's word for a timeout
        pass
    try:
        container.update_by_line(value, timeout_ms=limits.DOCUMENT_DIFF_MILLISECONDS)
    except ValueError:
        length = len(container)
        if length:
            container.delete(0, length)
        container.insert(0, value)


def merge_texts(base: str, one: str, other: str) -> str:
    """Both edits of `base` in one text."""
    if one in (base, other):
        return other
    if other == base:
        return one
    mine = LoroDoc()
    set_text(mine.get_text("t"), base)
    mine.commit()
    theirs, known = mine.fork(), mine.oplog_vv
    set_text(mine.get_text("t"), one)
    mine.commit()
    set_text(theirs.get_text("t"), other)
    theirs.commit()
    Importer(mine).run([theirs.export(ExportMode.Updates(known))], seconds_max=None)
    return mine.get_text("t").to_string()
