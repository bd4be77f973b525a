"""Cursors: where a page of rows has ended, as a text that clients send back.

Where rows come by id it is the last id, as in the reference. Where they come by other fields, or
the id is no text that a server or client makes, it is a token with the last row's values. Made and
read for the cursor list of `api/entities`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from pylon import limits
from pylon.codec import decode, encode
from pylon.data.errors import invalid
from pylon.data.filters import Columns, Order, parse_after
from pylon.errors import PylonError
from pylon.ids import is_well_formed_row_id
from pylon.moments import shown_column
from pylon.store.base import Value

_TOKEN: Final = "c_"
"""What tokens begin with."""


_BY_ID: Final = (Order("id", False),)


def id_cursor(row_id: str | None) -> str | None:
    """The cursor behind a row in a list by id; None where the list has no more."""
    return None if row_id is None else cursor_of({"id": row_id}, _BY_ID)


def cursor_of(row: Mapping[str, Value], order: Sequence[Order]) -> str:
    """The cursor behind this row in a complete order; 400 where its values are too long for one."""
    last = row["id"]
    if order[0].column == "id" and not order[0].descending and is_well_formed_row_id(last):
        return str(last)
    values = {name: row[name] for name in (shown_column(part.column) for part in order)}
    size = sum([len(value) for value in values.values() if isinstance(value, str)])
    if size > limits.CURSOR_CHARACTERS_MAX:
        raise invalid(
            f"The fields in sort of a row have more than {limits.CURSOR_CHARACTERS_MAX} characters,"
            " too many for a cursor.",
            "Sort by another field, or page by offset in the plain list.",
        )
    packed = encode([_name(order), values])
    return _TOKEN + urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_cursor(text: str, order: Sequence[Order], columns: Columns) -> dict[str, Value]:
    """The values that a cursor holds, for an order that is the same as when it was made.

    400 `INVALID_QUERY` for a text that is no cursor. An id of no usual form may be one: whether it
    is has to be asked of the rows (`is_id`).
    """
    if text.startswith(_TOKEN):
        try:
            packed = text.removeprefix(_TOKEN).encode()
            found = decode(urlsafe_b64decode(packed + b"=" * (-len(packed) % 4)))
            name, values = found
        except (ValueError, TypeError, PylonError):
            raise bad_cursor(text) from None
        if name != _name(order):
            raise invalid("The cursor is of a list in another order.", "Begin anew without after.")
        return parse_after(values, columns)
    if order[0].column != "id":
        raise bad_cursor(text)
    return {"id": text}


def is_plain(text: str) -> bool:
    """Whether a cursor is what lists by id have: nothing, to begin, or the id of a row."""
    return not text or is_well_formed_row_id(text)


def is_made_up(text: str) -> bool:
    """Whether a cursor has neither of the forms that `cursor_of` gives: it may be the id of an
    imported row, or nothing."""
    return not text.startswith(_TOKEN) and not is_well_formed_row_id(text)


def bad_cursor(text: str) -> PylonError:
    """400 `INVALID_QUERY`."""
    return invalid(
        f'after takes the next_cursor of the page before, not "{text[:100]}".',
        "Leave it out to begin anew.",
    )


def _name(order: Sequence[Order]) -> str:
    return ",".join(
        [f"{'-' if part.descending else ''}{shown_column(part.column)}" for part in order]
    )
