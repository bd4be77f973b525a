"""The rows of the data suite: the same for every server, made from their numbers alone.

Pure. Ids are numbers here; each peer writes them in its own form. Used by `suites.data` and tested.
"""

from __future__ import annotations

from collections.abc import Iterator

OWNERS = 10_000
CALLERS = 8
"""Users who sign in; each owns `CALLER_TASKS` rows, so that a page of 20 is full."""

CALLER_TASKS = 40
ORGS = 1000
ORG_MEMBERS = 10
CALLER_ORGS = 5
STATUSES = ("open", "paid", "sent", "late", "void")
WORDS = 2000
NOTE_WORDS = 12
MEMOS_EACH = 300
"""Memos of each owner, in a table of any size."""

COMMON = "everywhere"
"""A word of every memo."""

SPREAD = 2_654_435_761
"""A prime (2^32 over the golden ratio): its multiples look shuffled."""

Row = dict[str, str | int]


def caller_id(number: int) -> str:
    """A user id of 15 characters, as PocketBase wants them."""
    return f"caller{number:09d}"


def owner_of(task: int) -> str:
    """The callers' tasks lie all over the table; the other owners share the rest evenly."""
    block, place = divmod(task, OWNERS)
    mixed = (place * 7919 + block) % OWNERS
    if mixed < CALLERS * CALLER_TASKS and block == mixed // CALLERS % 10:
        return caller_id(mixed % CALLERS)
    return f"owner_{(task * 31 + 7) % (OWNERS - CALLERS):09d}"


def shuffled(number: int) -> int:
    """A number below 2^32 that is unlike its neighbours."""
    return number * SPREAD % 2**32


def word(number: int) -> str:
    """One of `WORDS` words of six letters, so that none is the beginning of another."""
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    letters = ""
    for _ in range(3):
        number, place = divmod(number, len(consonants) * len(vowels))
        letters += consonants[place // len(vowels)] + vowels[place % len(vowels)]
    return letters


def tasks(count: int) -> Iterator[Row]:
    """Rows of many owners."""
    for n in range(count):
        yield {
            "title": f"Buy {n:010d} bottles of milk",
            "ownerId": owner_of(n),
            "rank": shuffled(n),
            "weight": shuffled(n + 1),
        }


def orgs() -> Iterator[Row]:
    """The organisations."""
    for n in range(ORGS):
        yield {"name": f"Organisation {n}"}


def members() -> Iterator[tuple[int, str]]:
    """Organisation and user; each caller is in `CALLER_ORGS` organisations."""
    for org in range(ORGS):
        for place in range(ORG_MEMBERS):
            yield org, f"owner_{(org * ORG_MEMBERS + place) % (OWNERS - CALLERS):09d}"
    for caller in range(CALLERS):
        for place in range(CALLER_ORGS):
            yield (caller * 131 + place * 197) % ORGS, caller_id(caller)


def tickets(count: int) -> Iterator[tuple[int, str, int]]:
    """Organisation, title, rank."""
    for n in range(count):
        yield n % ORGS, f"Ticket {n:010d}", shuffled(n)


def sales(count: int) -> Iterator[Row]:
    """Amounts by status."""
    for n in range(count):
        yield {"status": STATUSES[shuffled(n) % len(STATUSES)], "amount": shuffled(n) % 1000}


def notes(count: int) -> Iterator[Row]:
    """Texts of `NOTE_WORDS` words, every word as frequent as every other."""
    for n in range(count):
        first = n * NOTE_WORDS
        words = (word(shuffled(first + place) // 7 % WORDS) for place in range(NOTE_WORDS))
        yield {"text": " ".join(words)}


def memos(count: int) -> Iterator[Row]:
    """Texts with one word in common; of the owners, each with `MEMOS_EACH`, the first are callers,
    and what is left over belongs to nobody in particular."""
    owners = count // MEMOS_EACH
    for n, note in enumerate(notes(count)):
        owner = n % owners if n < owners * MEMOS_EACH else owners
        who = caller_id(owner) if owner < CALLERS else f"owner_{owner:09d}"
        yield {"text": f"{COMMON} {note['text']}", "ownerId": who}
