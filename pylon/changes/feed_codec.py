"""Messages of the feed as bytes, for those that hear of commits from another process.

One commit is one piece: its messages in order, and the position of the log's end after it. What one
process writes and hears itself is never encoded. MessagePack, since rows and tokens hold bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from pylon.changes.epochs import EpochRaised
from pylon.changes.facts import Fact
from pylon.changes.feed import Gap, Message
from pylon.changes.model import Change, Forgotten

_TYPES: Final[dict[str, type[Any]]] = {
    each.__name__: each for each in (Change, Forgotten, EpochRaised, Gap, *get_args(Fact))
}

_Piece = tuple[int, list[tuple[str, msgspec.Raw]]]

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Piece)
_decoders: Final[dict[str, msgspec.msgpack.Decoder[Any]]] = {
    name: msgspec.msgpack.Decoder(kind) for name, kind in _TYPES.items()
}


def encode_commit(messages: Sequence[Message], seq: int) -> bytes:
    """The arguments of `Feed.deliver` as bytes."""
    return _encoder.encode((seq, [(type(each).__name__, each) for each in messages]))


def decode_commit(data: bytes) -> tuple[list[Message], int]:
    """What `encode_commit` made of them. Raises `msgspec.MsgspecError` or `KeyError` for bytes
    that a process of another version has made."""
    seq, pieces = _decoder.decode(data)
    return [_decoders[name].decode(piece) for name, piece in pieces], seq


def carry_encoded(messages: Sequence[Message], seq: int) -> tuple[list[Message], int]:
    """The way between processes, inside one (a `feed.Carry`): for tests of what would not cross."""
    return decode_commit(encode_commit(messages, seq))
