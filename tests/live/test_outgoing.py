"""What waits to be said, against a plain list: in order, the latest of each key, in its bound."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from pylon.live.outgoing import Outgoing

BOUND = 20
key = st.integers(0, 3)
said = st.binary(max_size=8)
step = st.one_of(
    st.tuples(st.just("put"), key, said),
    st.tuples(st.just("later"), key, said),
    st.tuples(st.just("drop"), key),
    st.tuples(st.just("add"), said),
    st.tuples(st.just("take")),
)


@given(st.lists(step, max_size=40))
def test_it_says_what_a_plain_list_says(steps: list[tuple[object, ...]]) -> None:
    outgoing: Outgoing[int] = Outgoing(BOUND)
    model: list[tuple[int | None, bytes]] = []
    for kind, *parts in steps:
        if kind in ("put", "later"):
            number, value = parts
            assert isinstance(number, int)
            assert isinstance(value, bytes)
            model = [each for each in model if each[0] != number]
            model.append((number, value))
            outgoing.put(number, value if kind == "put" else partial(bytes, value))
        elif kind == "drop":
            (number,) = parts
            assert isinstance(number, int)
            model = [each for each in model if each[0] != number]
            outgoing.drop(number)
        elif kind == "add":
            (value,) = parts
            assert isinstance(value, bytes)
            held = sum(len(message) for of, message in model if of is None)
            assert outgoing.add(value) == (held + len(value) <= BOUND)
            if held + len(value) <= BOUND:
                model.append((None, value))
        else:
            expected: list[bytes] = []
            while model and sum(map(len, expected)) <= BOUND:
                expected.append(model.pop(0)[1])
            assert list(outgoing.take()) == expected
        assert len(outgoing) == len(model)
        assert outgoing.message_bytes == sum(len(m) for of, m in model if of is None)


def test_a_value_that_is_made_later_tells_what_is_so_then() -> None:
    outgoing: Outgoing[str] = Outgoing(BOUND)
    places = {"ann": b"1"}
    outgoing.put("ann", lambda: places["ann"])
    places["ann"] = b"2"
    assert list(outgoing.take()) == [b"2"]
