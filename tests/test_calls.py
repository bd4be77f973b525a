"""Calls: what crosses to the owner of the database and back, and that nothing is lost on the
way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.calls import Answered, Asked, Call, Calls, CallTable, DirectCalls, LoopbackCalls, encode
from pylon.errors import PylonError
from pylon.http.errors import HttpError
from pylon.identity import ADMIN, ANONYMOUS, Identity

ANN = Identity(
    user_id="ann", tenant_id="acme", roles=("a", "b"), email="a@x", session_id=b"\x00\xff"
)


class Sum(msgspec.Struct, frozen=True):
    terms: tuple[int, ...]


def table(
    run: Callable[[Identity, Any], Awaitable[Any]], **more: Any
) -> tuple[CallTable, Call[Any, Any]]:
    made = CallTable(lambda: 7)
    call: Call[Any, Any] = Call(name="test", run=run, **more)
    made.add(call)
    return made, call


def ways(made: CallTable) -> tuple[Calls, ...]:
    return DirectCalls(), LoopbackCalls(made)


@pytest.mark.parametrize("identity", [ANN, ADMIN, ANONYMOUS])
async def test_either_way_the_owner_sees_the_same(identity: Identity) -> None:
    async def add(who: Identity, asked: Sum) -> list[object]:
        return [sum(asked.terms), who.user_id, who.session_id == identity.session_id]

    made, call = table(add, takes=Sum, gives=list[object])
    for calls in ways(made):
        answer = await calls.ask(call, identity, Sum((1, 2, 3)))
        assert answer == [6, identity.user_id, True]


@pytest.mark.parametrize(
    "error",
    [
        PylonError(404, "NOT_FOUND", "No such row.", "Look elsewhere."),
        PylonError(410, "RESYNC_REQUIRED", "Start again.", None, oldest_seq=12),
        HttpError(429, "RATE_LIMITED", "Later.", headers=((b"retry-after", b"3"),)),
    ],
)
async def test_an_error_comes_back_as_it_was(error: PylonError) -> None:
    async def refuse(_who: Identity, _asked: None) -> None:
        raise error

    made, call = table(refuse, takes=type(None), gives=None)
    for calls in ways(made):
        with pytest.raises(PylonError) as caught:
            await calls.ask(call, ANN, None)
        assert caught.value.status == error.status
        assert caught.value.to_wire() == error.to_wire()
        assert caught.value.headers == error.headers


async def test_the_answer_says_what_the_owner_had_seen() -> None:
    async def nothing(_who: Identity, _asked: None) -> None:
        return None

    made, _ = table(nothing, takes=type(None), gives=None)
    frame = encode(Asked("test", ANN, encode(None)))
    answered = msgspec.msgpack.decode(await made.serve(frame), type=Answered)
    assert (answered.seq, answered.refused) == (7, None)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON_VALUES)
async def test_json_of_any_kind_crosses(value: Any) -> None:
    async def echo(_who: Identity, asked: Any) -> Any:
        return asked

    made, call = table(echo, takes=Any, gives=Any, is_json=True)
    assert await LoopbackCalls(made).ask(call, ANN, value) == value


async def test_what_could_not_cross_is_found() -> None:
    """In one process anything passes: an object of the asking process, an answer of another
    type."""

    async def echo(_who: Identity, asked: Any) -> Any:
        return asked

    made, call = table(echo, takes=Any, gives=int)
    own: list[Any] = ["text", object()]
    for value in own:
        assert await DirectCalls().ask(call, ANN, value) is value
        with pytest.raises((msgspec.ValidationError, TypeError)):
            await LoopbackCalls(made).ask(call, ANN, value)


def test_a_name_is_taken_once() -> None:
    async def nothing(_who: Identity, _asked: None) -> None:
        return None

    made, call = table(nothing, takes=type(None), gives=None)
    assert call in made
    with pytest.raises(AssertionError, match="twice"):
        made.add(call)
