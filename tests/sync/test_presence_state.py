"""Presence and topics decided without sockets: what always holds, over random histories."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from pylon import codec, limits
from pylon.sync.presence_state import PresenceState

SPACES = [("tenant", "red"), ("tenant", "blue")]
member = st.integers(0, 5)
topic = st.sampled_from([None, "a", "b", "c"])
data = st.sampled_from([None, b"1", b"[1,2,3,4,5,6,7,8,9]"])
step = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(SPACES)),
    st.tuples(st.just("leave"), member),
    st.tuples(st.just("subscribe"), member, topic),
    st.tuples(st.just("unsubscribe"), member, topic),
    st.tuples(st.just("announce"), member, topic, data),
    st.tuples(st.just("withdraw"), member, topic),
    st.tuples(st.just("say"), member, topic, data),
    st.tuples(st.just("take")),
)


@given(st.lists(step, max_size=60))
def test_what_always_holds(steps: list[tuple[Any, ...]]) -> None:
    bounds: dict[str, Any] = {"PRESENCE_HELD_BYTES_MAX": 30, "PRESENCE_TOPICS_PER_SOCKET_MAX": 2}
    with mock.patch.multiple(limits, **bounds):
        state = PresenceState()
        spaces: dict[int, tuple[str, str]] = {}
        for kind, *parts in steps:
            if kind == "join":
                joined = state.join(parts[0], f"user{len(spaces)}", 0.0)
                spaces[joined] = parts[0]
            elif kind == "take":
                for delivery in state.take():
                    assert len({spaces[each] for each in delivery.members}) == 1
                    for message in map(codec.decode, delivery.messages):
                        assert not {"seq", "entity", "kind"} <= message.keys()
            elif parts[0] in spaces:
                act(state, kind, *parts)
                if kind == "leave":
                    del spaces[parts[0]]
            state.validate()
        assert state.members == len(spaces)
        for each in list(spaces):
            state.leave(each)
        state.validate()
        assert state.channels == 0
        assert state.is_quiet


def act(state: PresenceState, kind: str, who: int, *parts: Any) -> None:
    """One step of one member; topics are named where the step needs one."""
    if kind in ("subscribe", "unsubscribe") and parts[0] is None:
        return
    if kind == "say":
        where, said = parts
        event = "wave" if where is None else None
        state.say(who, where, said, event=event)
    else:
        getattr(state, kind)(who, *parts)


def test_what_one_socket_announces_is_bounded() -> None:
    state = PresenceState()
    one, other = (state.join(SPACES[0], name, 0.0) for name in ("one", "other"))
    large = b'"%s"' % (b"x" * (limits.PRESENCE_DATA_BYTES_MAX - 2))
    most = limits.PRESENCE_HELD_BYTES_MAX // len(large)
    announced = [state.announce(one, f"t{number}", large) for number in range(most + 5)]
    assert announced == [True] * most + [False] * 5
    assert state.dropped == 5
    assert state.announce(one, "t0", large), "what takes the place of another one costs nothing"
    assert state.announce(other, "t0", large)
    state.withdraw(one, "t0")
    assert state.announce(one, f"t{most}", large)
    state.validate()
