"""JSON in and out, the only module that knows which JSON library is used.

Decoding is strict: UTF-8 only, no NaN, numbers that fit. Encoding keeps the order of keys.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pylon.errors import PylonError

Raw = msgspec.Raw
"""Bytes that are JSON already and are passed through as they are."""

encode = msgspec.json.Encoder().encode
"""Encode any JSON value to compact bytes."""

_decode = msgspec.json.Decoder().decode


def decode(body: bytes | str) -> Any:
    """Decode untrusted JSON; malformed input is 400 `INVALID_JSON` (spec 02 1.1)."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PylonError(
            400, "INVALID_JSON", "Invalid request body", "The body must be JSON in UTF-8."
        ) from error


def decode_trusted(text: bytes | str) -> Any:
    """Decode JSON that this program wrote itself (a column of the database)."""
    return _decode(text)


def encode_pretty(value: Any) -> str:
    """JSON for people and files: two spaces of indentation and a final newline."""
    return msgspec.json.format(encode(value), indent=2).decode() + "\n"
