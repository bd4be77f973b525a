"""From the cells of a CSV file to values of fields. Called by `transfer`; the format itself is
`wire/csv_format.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pylon.codec import decode_within
from pylon.data.table import Table
from pylon.errors import PylonError


def readers(table: Table) -> dict[str, Callable[[str], Any]]:
    """How the text of a cell becomes a value, by field. A text that is no value of the field's kind
    stays one, so that it is refused where all values are checked; for JSON, which has texts, it is
    a `ValueError`."""
    by_field = {name: _READERS.get(field.kind, str) for name, field in table.fields.items()}
    return {"id": str, **by_field}


def json_fields(table: Table) -> frozenset[str]:
    """The fields whose values are any JSON, and are written as such."""
    return frozenset(n for n, field in table.fields.items() if _READERS.get(field.kind) is _json)


def _int(text: str) -> Any:
    try:
        return int(text) if len(text) <= _DIGITS_MAX and "_" not in text else text
    except ValueError:
        return text


def _float(text: str) -> Any:
    whole = _int(text)
    if whole is not text:
        return whole
    try:
        return text if "_" in text else float(text)
    except ValueError:
        return text


def _bool(text: str) -> Any:
    return _WORDS.get(text.strip().lower(), text)


def _json(text: str) -> Any:
    if len(text) > _JSON_CHARACTERS_MAX:
        raise ValueError(f"JSON of at most {_JSON_CHARACTERS_MAX} characters")
    try:
        return decode_within(text.encode())
    except PylonError:  # A text would be a value, too.
        raise ValueError("JSON") from None


_DIGITS_MAX: Final = 40
"""Python reads no number of thousands of digits, and no field takes one."""

_JSON_CHARACTERS_MAX: Final = 262_144
"""What is decoded in one go, in up to 20 ms; larger values can be imported as NDJSON."""

_WORDS: Final = {"true": True, "false": False, "1": True, "0": False}
"""Also as spreadsheets write them, in capitals."""

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "int": _float,
    "float": _float,
    "bool": _bool,
    "json": _json,
    "list": _json,
}
"""All others are texts."""
