"""Which credential counts and whose it is."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.auth import identify
from pylon.auth.identify import Identifier, cookie_value, find_credential, from_subprotocol
from pylon.auth.model import Credential
from pylon.auth.sessions import Sessions
from pylon.identity import ADMIN, ANONYMOUS, Identity

ADMIN_TOKEN = "correct-horse-battery"


@pytest.mark.parametrize(
    ("authorization", "cookie", "expected"),
    [
        (None, None, None),
        ("Bearer t", None, ("t", "bearer")),
        ("Bearer  t ", None, (" t ", "bearer")),
        ("Bearer b", "s=c", ("b", "bearer")),
        ("Bearer ", "s=c", None),
        ("bearer b", "s=c", ("c", "cookie")),
        ("Basic dTpw", "s=c", ("c", "cookie")),
        ("Basic dTpw", None, None),
        (None, "s=c", ("c", "cookie")),
        (None, "a=1; s=c; s=d", ("c", "cookie")),
        (None, "s=", None),
        (None, "s", None),
        (None, "S=c", None),
        (None, "xs=c", None),
        (None, 's="c%20"', ('"c%20"', "cookie")),
        (None, "s=a=b", ("a=b", "cookie")),
    ],
)
def test_find_credential(
    authorization: str | None, cookie: str | None, expected: tuple[str, str] | None
) -> None:
    found = find_credential(authorization, cookie, cookie_name="s")
    assert (None if found is None else (found.token, found.source)) == expected


@given(st.text(), st.text(min_size=1))
def test_cookie_value_never_fails(header: str, name: str) -> None:
    value = cookie_value(header, name)
    assert value is None or value in header


@given(st.text(st.characters(exclude_characters=";=\r\n", codec="latin-1")))
def test_a_bearer_always_shuts_the_cookie_out(token: str) -> None:
    found = find_credential(f"Bearer {token}", "s=c", cookie_name="s")
    assert found is None if token == "" else found == Credential(token=token, source="bearer")


# --- Subprotocol -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("chat", None),
        ("bearer.abc", ("abc", "bearer.abc")),
        ("chat , bearer.abc , bearer.def", ("abc", "bearer.abc")),
        ("bearer.a%20b", ("a b", "bearer.a%20b")),
        ("bearer.a+b", ("a b", "bearer.a+b")),
        ("bearer.a%2Bb", ("a+b", "bearer.a%2Bb")),
        ("bearer.%c3%A9", ("é", "bearer.%c3%A9")),
        ("bearer.%zz, bearer.ok", ("ok", "bearer.ok")),
        ("bearer.%, bearer.%4", None),
        ("bearer.%ff, bearer.ok", ("ok", "bearer.ok")),
        ("bearer.\xe9", None),
        ("bearer.\u20ac", None),
        ("Bearer.abc", None),
        ("bearer.", ("", "bearer.")),
    ],
)
def test_from_subprotocol(header: str, expected: tuple[str, str] | None) -> None:
    assert from_subprotocol(header) == expected


@given(st.text())
def test_any_token_comes_back_and_its_entry_is_echoed(token: str) -> None:
    entry = "bearer." + quote(token, safe="")
    assert from_subprotocol(f"chat, {entry}, bearer.other") == (token, entry)


@given(st.text(st.sampled_from("bearer.%,+ 0aFé\u20ac")))
def test_from_subprotocol_never_fails_and_never_invents_an_entry(header: str) -> None:
    found = from_subprotocol(header)
    if found is not None:
        assert found[1] in [part.strip() for part in header.split(",")]


# --- Identity --------------------------------------------------------------------------------


def bearer(token: str) -> Credential:
    return Credential(token=token, source="bearer")


def cookie(token: str) -> Credential:
    return Credential(token=token, source="cookie")


async def who(identifier: Identifier, credential: Credential | None) -> Identity:
    """Both ways to ask; they must agree where the quick one knows."""
    identity = await identifier.identify(credential)
    assert identifier.at_once(credential) in (None, identity)
    return identity


async def test_the_admin_token_counts_as_bearer_only(sessions: Sessions) -> None:
    identifier = Identifier(sessions, admin_token=ADMIN_TOKEN, cookie_name="s")
    assert await who(identifier, bearer(ADMIN_TOKEN)) is ADMIN
    assert identifier.at_once(bearer(ADMIN_TOKEN)) is ADMIN
    assert await who(identifier, cookie(ADMIN_TOKEN)) is ANONYMOUS
    assert await who(identifier, bearer(ADMIN_TOKEN + " ")) is ANONYMOUS
    assert await who(identifier, bearer(ADMIN_TOKEN[:-1])) is ANONYMOUS
    assert await who(identifier, bearer("é\xff")) is ANONYMOUS


@pytest.mark.parametrize("admin_token", [None, "", "  "])
async def test_a_blank_admin_token_lets_nobody_in(
    sessions: Sessions, admin_token: str | None
) -> None:
    identifier = Identifier(sessions, admin_token=admin_token, cookie_name="s")
    for authorization, header in [("Bearer ", None), (None, "s="), ("Bearer   ", None)]:
        credential = identifier.credential(authorization, header)
        assert await who(identifier, credential) is ANONYMOUS
    assert await who(identifier, bearer("")) is ANONYMOUS


async def test_a_session_counts_both_ways_and_an_unknown_token_is_nobody(
    sessions: Sessions,
) -> None:
    identifier = Identifier(sessions, admin_token=ADMIN_TOKEN, cookie_name="s")
    token, session = await sessions.create("u1")
    for credential in (bearer(token), cookie(token)):
        identity = await who(identifier, credential)
        assert (identity.user_id, identity.session_id) == ("u1", session.session_id)
        assert not identity.is_admin
    assert await who(identifier, bearer("pylon_" + "0" * 64)) is ANONYMOUS
    assert await who(identifier, None) is ANONYMOUS


async def test_the_admin_token_is_compared_in_constant_time(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def watch(left: str, right: str) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(identify, "same_secret", watch)
    identifier = Identifier(sessions, admin_token=ADMIN_TOKEN, cookie_name="s")
    assert await identifier.identify(bearer(ADMIN_TOKEN)) is ANONYMOUS
    assert identifier.at_once(bearer(ADMIN_TOKEN)) is None
    assert compared == [(ADMIN_TOKEN, ADMIN_TOKEN)] * 2
