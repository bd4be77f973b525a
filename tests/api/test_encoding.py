"""Long answers that are made at once, in turns of the loop."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.api.encoding import rows_in_turns
from pylon.codec import decode

SIZES = st.lists(st.sampled_from([0, 1, 100, 30_000, 300_000]), max_size=40)


@given(SIZES)
def test_it_is_the_same_list(sizes: list[int]) -> None:
    rows = [{"id": number, "text": "x" * size} for number, size in enumerate(sizes)]
    assert decode(bytes(asyncio.run(rows_in_turns(rows)))) == rows


async def test_others_get_their_turns_and_short_ones_cost_none() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    await rows_in_turns([{"text": "x" * 100}] * 100)
    assert turns == 1
    await rows_in_turns([{"text": "x" * 10_000}] * 1_000)
    assert turns > 10_000_000 // (4 * limits.ANSWER_PIECE_BYTES)
    task.cancel()
