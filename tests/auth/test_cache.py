"""The memory of sessions: bounded, never past a session's end, forgetting what it is told to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pylon import limits
from pylon.auth.cache import SessionCache
from pylon.auth.model import Claims, Session


def session(number: int, user: str = "ann", *, expires_at: int = 0) -> Session:
    return Session(
        session_id=b"first %d" % number,
        token_hash=b"%d" % number,
        token_prefix="pylon_00",
        user_id=user,
        created_at=0,
        expires_at=expires_at,
        last_seen_at=0,
    )


def test_a_session_is_found_until_it_ends() -> None:
    cache = SessionCache()
    made = cache.put(session(1, expires_at=100), Claims(roles=("editor",)))
    assert made.roles == ("editor",)
    assert cache.get(b"1", 99.9) is made
    assert cache.get(b"1", 100.0) is None
    assert (len(cache), cache.get(b"1", 0.0)) == (0, None)


def test_the_least_recently_used_goes() -> None:
    cache = SessionCache(size_max=2)
    cache.put(session(1))
    cache.put(session(2))
    assert cache.get(b"1", 0.0)
    cache.put(session(3))
    assert [cache.get(b"%d" % n, 0.0) is not None for n in (1, 2, 3)] == [True, False, True]


def test_a_session_put_again_is_the_new_one() -> None:
    cache = SessionCache(size_max=1)
    cache.put(session(1, "ann"))
    cache.put(session(1, "bob"))
    cache.drop_user("ann")
    identity = cache.get(b"1", 0.0)
    assert identity is not None
    assert identity.user_id == "bob"


def test_what_is_dropped_is_gone_and_moves_the_generation() -> None:
    cache = SessionCache()
    for number, user in enumerate(("ann", "ann", "bob", "bob")):
        cache.put(session(number, user))
    generations = [cache.generation]
    removals: tuple[Callable[[], None], ...] = (
        lambda: cache.drop(b"0"),
        lambda: cache.drop_user("bob"),
        lambda: cache.drop_user("nobody"),
        cache.clear,
    )
    for remove in removals:
        remove()
        generations.append(cache.generation)
    assert generations == sorted(set(generations)), "each removal is one more"
    assert len(cache) == 0


REMOVALS: dict[str, Callable[[SessionCache], object]] = {
    "dropped": lambda cache: cache.drop(b"1"),
    "user dropped": lambda cache: cache.drop_user("ann"),
    "cleared": lambda cache: cache.clear(),
    "put again": lambda cache: cache.put(session(1, expires_at=100)),
    "pushed out": lambda cache: [cache.put(session(number)) for number in (2, 3)],
    "over": lambda cache: cache.get(b"1", 100.0),
    "over by its header": lambda cache: cache.get_bearer(b"Bearer 1", 100.0),
}


@pytest.mark.parametrize("removal", REMOVALS.values(), ids=REMOVALS.keys())
def test_a_header_is_known_as_long_as_its_session(
    removal: Callable[[SessionCache], object],
) -> None:
    cache = SessionCache(size_max=2)
    made = cache.put(session(1, expires_at=100))
    assert cache.get_bearer(b"Bearer 1", 0.0) is None
    cache.note_bearer(b"Bearer 1", b"1")
    assert cache.get_bearer(b"Bearer 1", 0.0) is made
    removal(cache)
    assert cache.get_bearer(b"Bearer 1", 0.0) is None
    cache.note_bearer(b"Bearer 9", b"9")
    assert cache.get_bearer(b"Bearer 9", 0.0) is None, "nobody has this token"


def test_a_session_has_one_header_and_is_used_by_it() -> None:
    cache = SessionCache(size_max=2)
    cache.put(session(1))
    cache.put(session(2))
    cache.note_bearer(b"bearer  1", b"1")
    cache.note_bearer(b"Bearer 1", b"1")
    assert cache.get_bearer(b"bearer  1", 0.0) is None
    assert cache.get_bearer(b"Bearer 1", limits.SESSION_SEEN_SECONDS + 1.0) is not None
    assert cache.take_seen(10) == [(b"1", limits.SESSION_SEEN_SECONDS + 1)]
    cache.put(session(3))
    assert cache.get_bearer(b"Bearer 1", 0.0) is not None, "the least recently used is another"


def test_the_use_of_a_session_is_noted_now_and_then() -> None:
    cache = SessionCache(size_max=2)
    for number in (1, 2):
        cache.put(session(number))
    soon, later = limits.SESSION_SEEN_SECONDS - 1.0, limits.SESSION_SEEN_SECONDS + 0.5
    cache.get(b"1", soon)
    assert cache.take_seen(10) == []
    for _ in range(3):
        cache.get(b"1", later)
    cache.get(b"2", later)
    assert len(cache.take_seen(1)) == 1
    assert len(cache.take_seen(10)) == 1
    cache.get(b"1", later + 1)
    assert cache.take_seen(10) == []
