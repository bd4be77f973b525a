"""Events as the bytes of one write."""

from __future__ import annotations

import zlib

import pytest

from pylon import limits
from pylon.http.frames import binary_frame, text_frame
from pylon.live.outlet import FRAMES, LINES, SERVER_SENT_EVENTS, DeflatedFrameEncoding

EVENTS = [(1, b'{"seq":1}'), (2, b'{"seq":2}')]


def test_frames_stand_back_to_back() -> None:
    assert FRAMES.join(EVENTS) == b'\x81\x09{"seq":1}\x81\x09{"seq":2}'
    large = b"x" * 70_000
    assert FRAMES.join([(1, large)]) == b"\x81\x7f" + len(large).to_bytes(8, "big") + large


def test_server_sent_events_carry_their_position() -> None:
    assert SERVER_SENT_EVENTS.join(EVENTS) == (
        b'id: 1\ndata: {"seq":1}\n\nid: 2\ndata: {"seq":2}\n\n'
    )


def test_lines() -> None:
    assert LINES.join(EVENTS) == b'{"seq":1}\n{"seq":2}'


def test_long_events_are_compressed_among_short_ones() -> None:
    long = b'{"seq":3,"text":"%b"}' % (b"again and " * 200)
    data = DeflatedFrameEncoding(1).join([*EVENTS, (3, long)])
    short = FRAMES.join(EVENTS)
    assert data.startswith(short)
    head, deflated = data[len(short) : len(short) + 2], data[len(short) + 2 :]
    assert head == bytes((0xC1, len(deflated)))
    assert zlib.decompressobj(-15).decompress(deflated + b"\0\0\xff\xff") == long


def test_an_event_is_compressed_once_for_all_audiences(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = DeflatedFrameEncoding(1)
    first = b"%0600d" % 0
    frame = encoding.join([(1, first)])
    monkeypatch.setattr(zlib, "compressobj", None)
    assert encoding.join([(1, bytes(bytearray(first)))]) == frame, "equal bytes are enough"
    assert encoding.join([(1, EVENTS[0][1]), (2, first)]) == text_frame(EVENTS[0][1]) + frame


def test_what_is_kept_is_bounded() -> None:
    encoding = DeflatedFrameEncoding(1)
    for number in range(limits.DEFLATE_KEPT_BYTES_MAX // 100_000 + 20):
        encoding.join([(number, b"%0100000d" % number)])
    kept = sum(len(payload) + len(frame) for payload, frame in encoding._frames.items())
    assert limits.DEFLATE_KEPT_BYTES_MAX // 2 < kept == encoding._size
    assert kept <= limits.DEFLATE_KEPT_BYTES_MAX
    assert b"%0100000d" % 0 not in encoding._frames, "the oldest are forgotten"


def test_documents_are_not_compressed() -> None:
    document = b"\x10" + b"x" * 5_000
    assert DeflatedFrameEncoding(1).binary(document) == binary_frame(document)
