"""Document frames: one WebSocket binary message with a row's name and Loro bytes (spec 03 5.4).

1 byte type | 2 bytes length, entity | 2 bytes length, row id | Loro bytes     (big endian)
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

SNAPSHOT: Final = 0x10
UPDATE: Final = 0x11

NAME_BYTES_MAX: Final = 0xFFFF
"""Longest entity name or row id that a frame can carry, in bytes of UTF-8."""


class DocumentFrame(Struct, frozen=True, kw_only=True):
    """A frame taken apart; clients ignore types they do not know."""

    type: int
    entity: str
    row_id: str
    payload: bytes


def document_frame(type: int, entity: str, row_id: str, payload: bytes) -> bytes:  # noqa: A002
    """The bytes of a frame. Raises `ValueError` for a name longer than `NAME_BYTES_MAX`."""
    names = entity.encode(), row_id.encode()
    if max(map(len, names)) > NAME_BYTES_MAX:
        raise ValueError("the name of a row is too long for a frame")
    return b"%c%b%b%b%b%b" % (
        type,
        len(names[0]).to_bytes(2, "big"),
        names[0],
        len(names[1]).to_bytes(2, "big"),
        names[1],
        payload,
    )


def read_document_frame(data: bytes) -> DocumentFrame | None:
    """The frame in a message; None where the message is none, as the official client has it."""
    entity_end = 3 + int.from_bytes(data[1:3], "big")
    row_id_start = entity_end + 2
    row_id_end = row_id_start + int.from_bytes(data[entity_end:row_id_start], "big")
    if len(data) < 5 or len(data) < row_id_start or len(data) < row_id_end:
        return None
    try:
        entity = data[3:entity_end].decode()
        row_id = data[row_id_start:row_id_end].decode()
    except UnicodeDecodeError:
        return None
    return DocumentFrame(type=data[0], entity=entity, row_id=row_id, payload=data[row_id_end:])
