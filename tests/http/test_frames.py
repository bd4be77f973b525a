"""Frames are what websockets' own parser, as a client, takes apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from pylon.http.frames import binary_frame, clip_reason, ping_frame, text_frame


def parse(data: bytes) -> list[Frame]:
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("length", EDGES)
def test_lengths_at_every_edge(length: int) -> None:
    payload = b"x" * length
    frames = parse(text_frame(payload) + binary_frame(payload))
    assert [(frame.opcode, bytes(frame.data), frame.fin) for frame in frames] == [
        (Opcode.TEXT, payload, True),
        (Opcode.BINARY, payload, True),
    ]
    assert len(text_frame(payload)) - length == (2 if length < 126 else 4 if length < 65536 else 10)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_joined_frames_stay_apart(payloads: list[bytes]) -> None:
    frames = parse(b"".join(binary_frame(payload) for payload in payloads))
    assert [bytes(frame.data) for frame in frames] == payloads


def test_ping_carries_its_payload() -> None:
    (frame,) = parse(ping_frame(b"12"))
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PING, b"12")
    with pytest.raises(ValueError, match="125"):
        ping_frame(b"x" * 126)


@given(st.text(max_size=200))
def test_close_reason_fits_and_stays_text(reason: str) -> None:
    clipped = clip_reason(reason)
    assert reason.startswith(clipped)
    assert len(Close(1013, clipped).serialize()) <= 125
    assert clipped == reason or len(clipped.encode()) > 119
