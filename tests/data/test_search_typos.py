"""How far words are apart, and which words of an index are near."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.data.door import ReadDoor
from pylon.data.search_typos import distance, neighbours, typos_in
from pylon.store.search_words import Term
from tests.data.searching import PRODUCT, manifest_of, searching
from tests.policy.worlds import effort


@pytest.mark.parametrize(
    ("left", "right", "apart"),
    [
        ("shoe", "shoe", 0),
        ("shoe", "sheo", 1),
        ("shoe", "shoes", 1),
        ("shoe", "hoe", 1),
        ("shoe", "shae", 1),
        ("umbrella", "umbrrelle", 2),
        ("shoe", "coat", 3),
        ("a", "abcdef", 3),
    ],
)
def test_distances(left: str, right: str, apart: int) -> None:
    assert distance(left, right, 2) == distance(right, left, 2) == apart


def edits(left: str, right: str) -> int:
    """The definition, written down."""

    @cache
    def apart(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        change = apart(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        found = min(apart(i - 1, j) + 1, apart(i, j - 1) + 1, change)
        if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
            found = min(found, apart(i - 2, j - 2) + 1)
        return found

    return apart(len(left), len(right))


WORDS = st.text("abc", max_size=7)


@effort(300)
@given(left=WORDS, right=WORDS, most=st.integers(0, 3))
def test_distances_are_those_of_the_definition(left: str, right: str, most: int) -> None:
    assert distance(left, right, most) == min(edits(left, right), most + 1)


async def test_every_near_word_is_a_candidate() -> None:
    """Against a look at all words: what stands in the index and is near is found."""
    near_one = [
        *("planted", "lpanted", "plnated", "plantde", "planed", "lanted", "plante", "pplanted"),
        *("plantedd", "plinted", "plunter", "platned", "pantled", "planttedd", "plannteds"),
    ]
    async with searching(manifest_of(PRODUCT)) as world:
        await world.add(name=" ".join(near_one))
        door = ReadDoor(world.rows)
        for typed in (*near_one, "planteds", "pltanedsx", "pxlantes", "plantedxy", "plaentd"):
            for is_prefix in (False, True):
                term = Term(typed, is_prefix)
                found = await neighbours(door, "Product", term)
                assert set(found) == {word for word in near_one if is_near(term, word)}, typed


def is_near(term: Term, word: str) -> bool:
    typos = typos_in(term.text)
    starts = (word[: len(term.text)], word) if term.is_prefix else (word,)
    return word[0] == term.text[0] and any(edits(term.text, each) <= typos for each in starts)


async def test_words_beyond_all_measure_are_not_compared() -> None:
    async with searching(manifest_of(PRODUCT)) as world:
        most = limits.SEARCH_TYPO_LETTERS_MAX
        stem = "abcdefghij" * (most // 10)
        await world.add(name=f"{stem[:-1]}x {stem}{stem}")
        door = ReadDoor(world.rows)
        assert await neighbours(door, "Product", Term(stem)) == [f"{stem[:-1]}x"]
        assert await neighbours(door, "Product", Term(stem[:-2], is_prefix=True)) == [
            f"{stem[:-1]}x"
        ]
        assert await neighbours(door, "Product", Term(f"{stem}y")) == []
        assert await neighbours(door, "Product", Term(f"{stem}{stem[:-1]}")) == []


def test_short_words_are_taken_as_they_are() -> None:
    assert [typos_in("x" * size) for size in (1, 3, 4, 7, 8, 20)] == [0, 0, 1, 1, 2, 2]


async def test_neighbours_of_a_word() -> None:
    async with searching(manifest_of(PRODUCT)) as world:
        await world.add(name="shoe shoes shore show horse sneaker sneakers snack")

        door = ReadDoor(world.rows)

        async def near(word: str, *, is_prefix: bool = False) -> list[str]:
            return await neighbours(door, "Product", Term(word, is_prefix))

        assert await near("shoee") == ["shoe", "shoes", "shore"]
        assert await near("snaeker") == ["sneaker"]
        assert await near("snaekers") == ["sneakers", "sneaker"]
        assert await near("snea") == []
        assert await near("snaek", is_prefix=True) == ["snack", "sneaker", "sneakers"]
        assert await near("sho") == []
