"""JSON in and out, the only module that knows which JSON library is used.

Decoding is strict: UTF-8 only, no NaN, numbers that fit. Encoding keeps the order of keys. How long
decoding may take follows from the number of values in a text, so this is where they are bounded;
how many bytes anybody may send is not decided here (`http/body_limit.py`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from pylon import limits
from pylon.errors import PylonError

Raw = msgspec.Raw
"""Bytes that are JSON already and are passed through as they are."""

encode = msgspec.json.Encoder().encode
"""Encode any JSON value to compact bytes."""


def _float(text: str) -> float:
    number = float(text)
    if number - number == 0.0:  # Not so of an infinity.
        return number
    raise ValueError("a number out of range")


_QUICK_BYTES: Final = 4_096
"""The library reads some numbers (1e300, 5e-324) fifty times more slowly than Python does, and all
others four times faster. So much of the worst of them takes 8 ms."""

_decode_quick = msgspec.json.Decoder().decode
_decode_steady = msgspec.json.Decoder(float_hook=_float).decode


def decode(text: bytes | str) -> Any:
    """Decode untrusted JSON at once; malformed input is 400 `INVALID_JSON` (spec 02 1.1).

    The loop waits: for texts of some 64 KiB. What may be larger is decoded by `decoding`, and what
    is one of many by `decode_item`.
    """
    try:
        if len(text) <= _QUICK_BYTES:
            return _decode_quick(text)
        return _decode_steady(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(text, error) from error


def decode_item(text: bytes | str) -> Any:
    """As `decode`, for texts of which many are decoded in one go: none takes longer than others."""
    try:
        return _decode_steady(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(text, error) from error


def decode_trusted(text: bytes | str) -> Any:
    """Decode JSON that this program wrote itself (a column of the database)."""
    if len(text) <= _QUICK_BYTES:
        return _decode_quick(text)
    return _decode_steady(text)


def encode_pretty(value: Any) -> str:
    """JSON for people and files: two spaces of indentation and a final newline."""
    return msgspec.json.format(encode(value), indent=2).decode() + "\n"


def _invalid(text: bytes | str = "-", error: BaseException | None = None) -> PylonError:
    """What is wrong with a text, and at which byte where the decoder says so."""
    hint = "The body must be JSON in UTF-8"
    if not text:
        hint += ", and is empty"
    elif isinstance(error, msgspec.DecodeError):
        hint += f": {str(error).removeprefix('JSON is malformed: ')}"
    return PylonError(400, "INVALID_JSON", "Invalid request body", f"{hint}.")


# --- large texts -----------------------------------------------------------------------------

Decoding: TypeAlias = Generator[None, None, Any]
"""Decoding in steps: other work may be done at each `yield`; the value is what it returns. Raises
as `decode`, and 413 `PAYLOAD_TOO_LARGE` for too many values, before any is made."""


def decoding(text: bytes, values_max: int = limits.JSON_VALUES_MAX) -> Decoding:
    """Decode a text of any size."""
    yield from _refusing_more(text, values_max)
    return decode(text)


def decode_within(text: bytes) -> Any:
    """The same at once, for texts of up to some 2 MB that nobody can decode in steps."""
    steps = decoding(text)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


class Outline:
    """Bodies that are large because of one list: `{"operations": [..], ..}`.

    The list is decoded piece by piece, so it may have `limits.JSON_LIST_VALUES_MAX` values, each of
    its items as many as any other text.
    """

    def __init__(self, key: str, *, is_bare: bool = False, **others: Any) -> None:
        """`key` holds the list; `others` are keys that may be beside it, with their types.
        `is_bare`: the body may be the list itself. What looks otherwise is decoded as a whole."""
        beside = [(name, kind | UnsetType, UNSET) for name, kind in others.items()]
        shape = msgspec.defstruct("Shape", [(key, list[Raw]), *beside], forbid_unknown_fields=True)
        kind: Any = list[Raw] | shape if is_bare else shape
        self._key = key
        self._decode = msgspec.json.Decoder(kind).decode

    def decoding(self, text: bytes) -> Decoding:
        """Decode a text of any size, to what `decode` would make of it."""
        yield from _refusing_more(text, limits.JSON_LIST_VALUES_MAX)
        try:
            found = self._decode(text)
        except msgspec.ValidationError:
            yield  # To say what is wrong takes long, too, where a key is.
            return (yield from decoding(text))
        except (ValueError, RecursionError) as error:
            raise _invalid() from error
        if isinstance(found, list):
            return (yield from _decoding_items(found))
        body = {name: each for name, each in asdict(found).items() if each is not UNSET}
        body[self._key] = yield from _decoding_items(body[self._key])
        return body


def _decoding_items(items: list[Raw]) -> Generator[None, None, list[Any]]:
    values: list[Any] = []
    since_step = 0
    for item in items:
        size = len(item)
        since_step += size
        if since_step > limits.JSON_STEP_BYTES:
            since_step = size
            yield
        if size > limits.JSON_STEP_BYTES:
            values.append((yield from decoding(bytes(item))))
        else:
            values.append(decode_item(item))
    return values


def _refusing_more(text: bytes, values_max: int) -> Iterator[None]:
    """Find out in steps whether a text has more values than that: 413."""
    if len(text) > 2 * values_max and (yield from _seem_more(text, values_max)):
        yield from _counting(text, values_max)
    if len(text) > limits.JSON_STEP_BYTES:
        yield


def _seem_more(text: bytes, values_max: int) -> Generator[None, None, bool]:
    """Whether a text may have more values than that: quick, and never wrongly no."""
    count = 1
    for start in range(0, len(text), _LOOK_BYTES):
        end = start + _LOOK_BYTES
        count += sum(text.count(sign, start, end) for sign in (b",", b"[", b"{"))
        if count > values_max:
            return True
        yield
    return False


_LOOK_BYTES: Final = 2_097_152
"""Looked through in one go; takes 3 ms."""

# Up to and with the next sign after which a value stands (group 1), or the quote of a string that
# has not ended (group 2). One of these or the end always matches: a search that failed would begin
# anew at each byte.
_VALUE: Final = re.compile(
    rb'(?:[^",\[{]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(?:([,\[{])|(")|\Z)', re.DOTALL
)
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def _counting(text: bytes, values_max: int) -> Iterator[None]:
    """Count the values of a text in steps; 413 when they are too many."""
    at, end, count = 0, 0, 1
    is_in_string = False
    while end < len(text):
        end += limits.JSON_STEP_BYTES
        if is_in_string:
            at = _IN_STRING.match(text, at, end).end()  # type: ignore[union-attr]  # Or empty.
            is_in_string = text[at : at + 1] != b'"'
            at += not is_in_string
        if not is_in_string:
            for found in _VALUE.finditer(text, at, end):
                at = found.end()
                if found.lastindex != 1:
                    is_in_string = found.lastindex == 2
                    break
                count += 1
        if count > values_max:
            raise _invalid() if _is_deep(text, at) else _too_many(values_max)
        yield


def _is_deep(text: bytes, end: int) -> bool:
    """Whether so much of a text is nested deeper than the decoder goes."""
    opened = text.count(b"{", 0, end) + text.count(b"[", 0, end)
    return opened - text.count(b"}", 0, end) - text.count(b"]", 0, end) > sys.getrecursionlimit()


def _too_many(values_max: int) -> PylonError:
    return PylonError(
        413,
        "PAYLOAD_TOO_LARGE",
        f"The JSON has more than {values_max} values",
        "Split the request; many rows are sent to POST /api/import.",
    )
