"""Builds server-to-client WebSocket frames (RFC 6455 section 5.2): never masked, always final.

Pure bytes in, bytes out. Called by the live hub, which frames a message once for all its readers,
and by `pylon.http.websocket`. Parsing what clients send is websockets' business, not ours.
"""

from __future__ import annotations

import struct
from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_PING: Final = 0x89
_DEFLATED_TEXT: Final = _TEXT | 0x40

_SHORT_MAX: Final = 125
_CONTROL_BYTES_MAX: Final = 125
_REASON_BYTES_MAX: Final = _CONTROL_BYTES_MAX - 2

# Nearly every event is shorter than 64 KiB: its head is a table look-up or one `pack`.
_TEXT_HEADS: Final = tuple(bytes((_TEXT, length)) for length in range(_SHORT_MAX + 1))
_BINARY_HEADS: Final = tuple(bytes((_BINARY, length)) for length in range(_SHORT_MAX + 1))
_pack_medium: Final = struct.Struct("!BBH").pack
_pack_long: Final = struct.Struct("!BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """One text message; `payload` is UTF-8 already."""
    length = len(payload)
    if length <= _SHORT_MAX:
        return _TEXT_HEADS[length] + payload
    if length <= 0xFFFF:  # `_long_head`, written out: every event comes by here
        return _pack_medium(_TEXT, 126, length) + payload
    return _pack_long(_TEXT, 127, length) + payload


def binary_frame(payload: bytes) -> bytes:
    """One binary message."""
    length = len(payload)
    if length <= _SHORT_MAX:
        return _BINARY_HEADS[length] + payload
    return _long_head(_BINARY, length) + payload


def deflated_text_frame(deflated: bytes) -> bytes:
    """One text message that is compressed already (RFC 7692 section 6: it has the bit RSV1)."""
    length = len(deflated)
    if length <= _SHORT_MAX:
        return bytes((_DEFLATED_TEXT, length)) + deflated
    return _long_head(_DEFLATED_TEXT, length) + deflated


def _long_head(first: int, length: int) -> bytes:
    if length <= 0xFFFF:
        return _pack_medium(first, 126, length)
    return _pack_long(first, 127, length)


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping of at most 125 bytes; the peer echoes the payload in its pong."""
    if len(payload) > _CONTROL_BYTES_MAX:
        raise ValueError("a ping carries at most 125 bytes")
    return bytes((_PING, len(payload))) + payload


def clip_reason(reason: str) -> str:
    """The longest beginning of `reason` that fits into a close frame (123 bytes of UTF-8)."""
    return reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
