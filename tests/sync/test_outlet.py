"""Events as the bytes of one write."""

from __future__ import annotations

from pylon.sync.outlet import FRAMES, LINES, SERVER_SENT_EVENTS

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
