"""The rows of the data suite are what the plans count on."""

from __future__ import annotations

from collections import Counter

from bench import worlds


def test_every_caller_owns_full_pages_all_over_the_table() -> None:
    rows = 100_000
    owners = Counter(str(row["ownerId"]) for row in worlds.tasks(rows))
    callers = [worlds.caller_id(number) for number in range(worlds.CALLERS)]
    assert {owners[caller] for caller in callers} == {worlds.CALLER_TASKS}
    assert len(owners) == worlds.OWNERS
    mine = [n for n in range(rows) if worlds.owner_of(n) == callers[0]]
    assert mine[0] < rows * 0.2
    assert mine[-1] > rows * 0.8


def test_callers_belong_to_as_many_organisations() -> None:
    members = Counter(user for _, user in worlds.members())
    for number in range(worlds.CALLERS):
        assert members[worlds.caller_id(number)] == worlds.CALLER_ORGS
    assert {org for org, _ in worlds.members()} == set(range(worlds.ORGS))


def test_words_are_distinct_and_none_begins_another() -> None:
    words = {worlds.word(number) for number in range(worlds.WORDS)}
    assert len(words) == worlds.WORDS
    assert {len(word) for word in words} == {6}


def test_texts_use_all_words_about_as_often() -> None:
    counts = Counter(word for row in worlds.notes(5_000) for word in str(row["text"]).split())
    mean = 5_000 * worlds.NOTE_WORDS / worlds.WORDS
    assert len(counts) == worlds.WORDS
    assert max(counts.values()) < 3 * mean


def test_each_caller_owns_as_many_memos_in_a_table_of_any_size() -> None:
    for rows in (10_000, 12_345):
        memos = list(worlds.memos(rows))
        owners = Counter(str(row["ownerId"]) for row in memos)
        callers = [worlds.caller_id(number) for number in range(worlds.CALLERS)]
        assert {owners[caller] for caller in callers} == {worlds.MEMOS_EACH}
        assert len(memos) == rows
        assert all(str(row["text"]).split().count(worlds.COMMON) == 1 for row in memos)
