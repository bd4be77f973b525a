"""Slow readers: who counts as one by hand-fed times and sizes, against plain restatements."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pylon.live.slow import Behind, Patience, furthest_behind

looks = st.lists(st.tuples(st.floats(0.1, 10), st.integers(0, 50), st.integers(0, 60)), max_size=20)


@given(looks)
def test_the_oldest_bytes_wait_since_a_look_at_which_they_were_there(
    history: list[tuple[float, int, int]],
) -> None:
    """Each look: some time passes, some is written, some is taken."""
    patience = Patience()
    now, written, taken = 0.0, 0, 0
    seen: list[tuple[float, int]] = []
    for seconds, more, takes in history:
        now += seconds
        written += more
        taken = min(written, taken + takes)
        since = patience.waits_since(now, written, written - taken)
        seen.append((now, written))
        if taken == written:
            assert since == now
        else:
            # The first look at which more had been written than is taken by now.
            assert since == next(at for at, total in seen if total > taken)


sizes = st.lists(st.tuples(st.integers(0, 100), st.sampled_from("abcd")), max_size=12)


@given(sizes, st.integers(0, 250))
def test_the_furthest_behind_go_until_the_rest_fits(
    readers: list[tuple[int, str]], total_max: int
) -> None:
    behind = [Behind(size, group, number) for number, (size, group) in enumerate(readers)]
    given_up = furthest_behind(behind, total_max)
    assert len(set(given_up)) == len(given_up)
    for count in range(len(given_up) + 1):
        gone = set(given_up[:count])
        left = [(size, group) for n, (size, group) in enumerate(readers) if n not in gone]
        kept = sum(max((s for s, g in left if g == group), default=0) for group in "abcd")
        assert (kept > total_max) == (count < len(given_up)), "no more go than have to"
        if count < len(given_up):
            assert readers[given_up[count]][0] == max(size for size, _ in left)
