"""How a person at a keyboard changes a text: one character at a time, mostly forwards.

Pure and seeded, so that each run types the same. Used by `editors`, which gives every editor one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

LETTERS = "etaoinshrdlucmfw    "
RUN_CHARACTERS = 30
"""Characters between two moves of the cursor, on average."""

BACKSPACE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Keystroke:
    """Insert `character` at `place`; or, when it is empty, delete what stands there."""

    place: int
    character: str


class Typist:
    """One person's cursor in a text that others change too."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._place = 0

    def next(self, length: int) -> Keystroke:
        """The next keystroke in a text that has `length` characters now."""
        chance = self._random.random()
        if chance < 1 / RUN_CHARACTERS:
            self._place = self._random.randint(0, length)
        self._place = min(self._place, length)
        if chance > 1 - BACKSPACE_SHARE and self._place > 0:
            self._place -= 1
            return Keystroke(self._place, "")
        self._place += 1
        return Keystroke(self._place - 1, self._random.choice(LETTERS))
