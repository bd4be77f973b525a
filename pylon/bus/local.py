"""The bus of a service that is one process: there is nobody to tell.

Questions are plain calls. `is_alone` is always true, so nothing is ever encoded for it.
"""

from __future__ import annotations

import asyncio

from pylon.bus.base import Answer, Hear, Unanswered


class LocalBus:
    """Alone, and for ever."""

    node = 0
    is_alone = True

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def publish(self, _topic: str, _message: bytes, /) -> None:
        """Nobody hears it."""

    def subscribe(self, _topic: str, _hear: Hear, /) -> None:
        """Nobody else ever publishes."""

    def answer(self, name: str, answer: Answer) -> None:
        assert name not in self._answers, f"{name} has an owner"
        self._answers[name] = answer

    async def ask(self, name: str, question: bytes, *, seconds: float) -> bytes:
        answer = self._answers.get(name)
        if answer is None:
            raise Unanswered(name)
        try:
            async with asyncio.timeout(seconds):
                return await answer(question)
        except TimeoutError:
            raise Unanswered(name) from None
