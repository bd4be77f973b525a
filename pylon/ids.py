"""Identifiers and randomness, in one place.

Row ids are 40 hex characters: 32 of Unix time in nanoseconds and 8 of a counter. They are of
fixed width and rise strictly, so text order is creation order (spec 02 section 2.1), also when the
clock steps back.
"""

from __future__ import annotations

import re
import secrets
import time
from hashlib import sha256

_WELL_FORMED = re.compile(
    r"[0-9a-f]{40}"
    r"|(?i:[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})",
    re.ASCII,
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class RowIds:
    """Makes row ids that rise strictly within the process, whatever the clock does."""

    __slots__ = ("_counter", "_last")

    def __init__(self) -> None:
        self._last = 0
        self._counter = secrets.randbits(32)

    def new(self) -> str:
        """A fresh id of 40 lower-case hex characters."""
        now = time.time_ns()
        if now <= self._last:
            now = self._last + 1
        self._last = now
        self._counter = (self._counter + 1) & 0xFFFF_FFFF
        return f"{now:032x}{self._counter:08x}"


def is_well_formed_row_id(value: object) -> bool:
    """Whether a client may choose this id for a new row: 40 lower hex, or UUID v4 or v7.

    A UUID may be in capitals, as some platforms print them; it is kept as it was written, and is
    the same id however it is written (`other_spellings`).
    """
    return isinstance(value, str) and _WELL_FORMED.fullmatch(value) is not None


def other_spellings(row_id: str) -> tuple[str, ...]:
    """How else the UUID of a row is written: in small letters, in capitals. Nothing for ids of
    other forms, which are texts like any others."""
    if len(row_id) != 36 or _UUID.fullmatch(row_id) is None:
        return ()
    written = (row_id.lower(), row_id.upper())
    return tuple(each for each in dict.fromkeys(written) if each != row_id)


def kept_spelling(row_id: str) -> str:
    """How a new row's id is kept: as it is written, but for a UUID that is written both ways."""
    return row_id if len(other_spellings(row_id)) < 2 else row_id.lower()


def new_session_token() -> str:
    """`pylon_` and 64 hex characters: 256 bits (spec 04 section 2)."""
    return f"pylon_{secrets.token_hex(32)}"


def new_pairing_code() -> str:
    """43 characters that stand in an address as they are: 256 bits, so that no guess is worth a
    limit of its own."""
    return secrets.token_urlsafe(32)


def new_guest_user_id() -> str:
    """`guest_` and 32 hex characters: 128 bits."""
    return f"guest_{secrets.token_hex(16)}"


def new_request_id() -> str:
    """16 hex characters that name one request in logs and errors."""
    return secrets.token_hex(8)


def new_node() -> int:
    """A number for a process among others, of 31 bits and not 0: among a hundred at a time, two are
    alike once in half a million."""
    return secrets.randbelow(2**31 - 1) + 1


def token_hash(token: str) -> bytes:
    """What is stored and looked up in place of a token: its SHA-256, 32 bytes.

    Tokens carry 256 random bits, so a fast hash is enough; no salt is needed.
    """
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def same_secret(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return secrets.compare_digest(
        left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass")
    )
