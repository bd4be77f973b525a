"""Frames cut anywhere, a typist whose keystrokes always fit, readers that are to stall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.clients import Frames
from bench.peers.raw_hub import text_frame
from bench.readers import LATENCY_EVERY, has_to_stall
from bench.typing_model import Typist
from pylon.http.frames import binary_frame

SIZES = st.lists(st.sampled_from([0, 2, 125, 126, 65_535, 65_536]), max_size=8)


@given(SIZES, st.integers(1, 100))
def test_frames_come_out_whole_wherever_they_are_cut(sizes: list[int], pieces: int) -> None:
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    data = b"".join(map(binary_frame, payloads))
    frames = Frames()
    found = []
    step = len(data) // pieces + 1
    for start in range(0, len(data), step):
        found += frames.feed(data[start : start + step])
    assert found == [(2, payload) for payload in payloads]


def test_a_frame_is_not_told_before_its_last_byte() -> None:
    frame = text_frame(b"a" * 200)
    frames = Frames()
    assert frames.feed(frame[:-1]) == []
    assert frames.feed(frame[-1:]) == [(1, b"a" * 200)]


@given(st.integers(0, 100), st.lists(st.integers(-3, 3), max_size=300))
def test_keystrokes_fit_into_a_text_that_others_change(seed: int, changes: list[int]) -> None:
    typist, length = Typist(seed), 0
    for change in changes:
        length = max(0, length + change)
        keystroke = typist.next(length)
        if keystroke.character:
            assert 0 <= keystroke.place <= length
            length += 1
        else:
            assert 0 <= keystroke.place < length
            length -= 1


def test_typists_with_one_seed_type_the_same() -> None:
    one, other = Typist(7), Typist(7)
    assert [one.next(n) for n in range(100)] == [other.next(n) for n in range(100)]


def test_a_tenth_stalls_and_none_of_them_is_sampled() -> None:
    stalled = [number for number in range(1000) if has_to_stall(number, 10)]
    assert len(stalled) == 100
    assert all(number % LATENCY_EVERY for number in stalled)
    assert not any(has_to_stall(number, 0) for number in range(1000))
