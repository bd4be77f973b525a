"""Calls: how work that writes is asked of the process that owns the database (design 8).

A call is a name, the caller's identity and an argument; the answer is a value and the position of
the log that it has seen. In one process asking is a plain await, and nothing is encoded. Between
processes argument and answer travel as bytes, so a call takes and gives plain values (`msgspec` can
read their types) and nothing of the asking process. Parts register them (`Part.calls`).

Not here: sockets between processes. `LoopbackCalls` is one process that encodes all the same, so
that tests find whatever would not cross.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from pylon.errors import PylonError
from pylon.identity import Identity

ArgumentT = TypeVar("ArgumentT")
AnswerT = TypeVar("AnswerT")

encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, kw_only=True)  # `typing` cannot make a generic one with slots
class Call(Generic[ArgumentT, AnswerT]):
    """Something that may be asked: a unique name, the types that cross, and who does it."""

    name: str
    takes: type[ArgumentT]
    gives: Any
    """The type of the answer; a union is one as well, which `type[...]` could not say."""
    run: Callable[[Identity, ArgumentT], Awaitable[AnswerT]]
    is_json: bool = False
    """Whether it carries JSON that people sent: numbers of any size, which msgpack has not."""

    def pack(self, value: object) -> bytes:
        """An argument or answer as it crosses."""
        return msgspec.json.encode(value) if self.is_json else encode(value)

    def unpack(self, data: bytes, kind: Any) -> Any:
        """The same back; `kind` is `takes` or `gives`."""
        decode = msgspec.json.decode if self.is_json else msgspec.msgpack.decode
        return decode(data, type=kind)


class Calls(Protocol):
    """The way to the owner."""

    async def ask(
        self, call: Call[ArgumentT, AnswerT], identity: Identity, argument: ArgumentT
    ) -> AnswerT:
        """Have it done and return its answer; raises the `PylonError` that it raised."""
        ...


class DirectCalls:
    """This process is the owner."""

    async def ask(
        self, call: Call[ArgumentT, AnswerT], identity: Identity, argument: ArgumentT
    ) -> AnswerT:
        return await call.run(identity, argument)


DIRECT: Final = DirectCalls()
"""For whatever is made where the database is: the usual case, and most tests."""

# --- what crosses ----------------------------------------------------------------------------


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A call on its way to the owner."""

    name: str
    identity: Identity
    argument: bytes


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """A `PylonError` on its way back."""

    status: int
    code: str
    message: str
    hint: str | None
    extra: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, error: PylonError) -> Refused:
        headers = tuple(getattr(error, "headers", ()))
        return cls(error.status, error.code, error.message, error.hint, error.extra, headers)

    def to_error(self) -> PylonError:
        """An error that is rendered as the one that was raised."""
        error = PylonError(self.status, self.code, self.message, self.hint, **self.extra)
        error.headers = self.headers
        return error


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """An answer on its way back; `seq` is the newest position of the log when it was made."""

    seq: int
    answer: bytes
    refused: Refused | None = None


class CallTable:
    """The calls of the owner, by name; `seq` tells the log's newest position."""

    def __init__(self, seq: Callable[[], int]) -> None:
        self._seq = seq
        self._calls: dict[str, Call[Any, Any]] = {}

    def add(self, call: Call[Any, Any]) -> None:
        """Answer a call. A second one of the same name is a bug."""
        assert call.name not in self._calls, f"the call {call.name} is registered twice"
        self._calls[call.name] = call

    def __contains__(self, call: Call[Any, Any]) -> bool:
        return self._calls.get(call.name) is call

    async def serve(self, frame: bytes) -> bytes:
        """Do what an `Asked` asks for; its `Answered`. Errors that are not `PylonError`s are
        raised, and belong to whoever reads frames."""
        asked = msgspec.msgpack.decode(frame, type=Asked)
        call = self._calls[asked.name]
        argument = call.unpack(asked.argument, call.takes)
        try:
            answer = await call.run(asked.identity, argument)
        except PylonError as error:
            return encode(Answered(self._seq(), b"", Refused.of(error)))
        return encode(Answered(self._seq(), call.pack(answer)))


class LoopbackCalls:
    """One process, and yet everything is encoded and decoded on its way there and back."""

    def __init__(self, table: CallTable) -> None:
        self._table = table

    async def ask(
        self, call: Call[ArgumentT, AnswerT], identity: Identity, argument: ArgumentT
    ) -> AnswerT:
        frame = encode(Asked(call.name, identity, call.pack(argument)))
        answered = msgspec.msgpack.decode(await self._table.serve(frame), type=Answered)
        if answered.refused is not None:
            raise answered.refused.to_error()
        answer: AnswerT = call.unpack(answered.answer, call.gives)
        return answer
