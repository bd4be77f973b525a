"""Counting events in chunks that end anywhere; frames and addresses made by hand."""

from __future__ import annotations

import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.peers.raw_hub import text_frame
from bench.readers import Counter, FrameCounter, Reader
from bench.sockets import masked_frame, source_address, upgrade_request
from pylon.http.frames import deflated_text_frame, ping_frame

MARKER = b'"seq":'


def frames(count: int) -> bytes:
    return b"".join(text_frame(b'{"seq":%d,"entity":"Post"}' % number) for number in range(count))


@given(st.integers(0, 20), st.lists(st.integers(1, 40), max_size=200))
def test_every_event_is_counted_once_however_it_is_cut(count: int, cuts: list[int]) -> None:
    counter = Counter(MARKER)
    with socket.socket() as sock:
        reader = Reader(sock, samples=False)
        data = frames(count)
        for size in cuts:
            part, data = data[:size], data[size:]
            if part:
                counter.feed(reader, part)
        if data:
            counter.feed(reader, data)
    assert counter.total == reader.count == count


def test_a_ping_behind_events_is_answered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Counter(MARKER).feed(Reader(ours, samples=False), frames(3) + ping_frame() + frames(1))
        assert theirs.recv(100) == masked_frame(0xA, b"")


def test_sending_times_are_sampled() -> None:
    counter = Counter(MARKER)
    with socket.socket() as sock:
        counter.feed(
            Reader(sock, samples=True), b'{"seq":1,"data":{"title":"sent 0000000000000000001"}}'
        )
    assert len(counter.latencies_ns) == 1


def test_frames_of_both_lengths() -> None:
    assert text_frame(b"ab") == b"\x81\x02ab"
    assert text_frame(b"a" * 200)[:4] == b"\x81\x7e\x00\xc8"
    assert masked_frame(0xA, b"") == b"\x8a\x80\x00\x00\x00\x00"


def test_few_readers_share_an_address() -> None:
    addresses = [source_address(number) for number in range(1000)]
    assert max(addresses.count(each) for each in set(addresses)) <= 64
    assert source_address(20_000).startswith("127.0.3.")


def test_token_travels_escaped_in_the_subprotocol() -> None:
    assert b"Sec-WebSocket-Protocol: bearer.a%2Fb\r\n" in upgrade_request("/ws", "a/b")
    assert b"Protocol" not in upgrade_request("/ws", "")


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 125, 126, 3_000, 70_000]), max_size=12), st.integers(1, 9_000))
def test_frames_are_counted_however_they_are_cut(lengths: list[int], size: int) -> None:
    counter = FrameCounter(MARKER)
    with socket.socket() as sock:
        reader = Reader(sock, samples=False)
        data = b"".join(deflated_text_frame(b"\x81" * length) for length in lengths)
        for place in range(0, len(data), size):
            counter.feed(reader, data[place : place + size])
    assert counter.total == reader.count == len(lengths)
    assert counter.bytes == len(data)
