"""Paths in logs and errors: ids stay, tokens do not."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.http.shown_path import shown_path

ROW = "0000000000000000187f2c6d5e4f3a2b00000001"
UUID = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/api/entities/Note/{ROW}",
        f"/api/entities/Session/{ROW}",
        f"/api/entities/Token/{UUID.upper()}",
        f"/api/crdt/Link/{ROW}",
        "/api/auth/session",
        "/api/auth/sessions",
        "/api/auth/magic-link/verify",
        "/api/sync/pull",
        "/assets/index-BxY12ab3CdEf45gHiJ.js",
        "/blog/how-to-reset-your-password/2026",
        "/a%20b/c",
    ],
)
def test_what_stays(path: str) -> None:
    assert shown_path(path) == path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/x/pylon_{'0a' * 32}", "/x/***"),
        (f"/x/pylon%5F{'0a' * 32}/y", "/x/***/y"),
        (f"/api/entities/Note/pylon_{'0a' * 32}", "/api/entities/Note/***"),
        (f"/deep/{JWT}", "/deep/***"),
        ("/api/auth/verify/k3J9xQ", "/api/auth/verify/***"),
        (f"/reset-password/{ROW}", "/reset-password/***"),
        (f"/Invite/{UUID}/accept", "/Invite/***/accept"),
        (f"/api/auth/sessions/{'ab' * 32}", "/api/auth/sessions/***"),
        ("/i/" + "aB3dE6gH9jK2mN5pQ8sT1vW4", "/i/***"),
        ("/i/" + "0f" * 24, "/i/***"),
        ("/cb/token=abc123/x", "/cb/token=***/x"),
        ("/cb/a%3Dabc123", "/cb/a=***"),
    ],
)
def test_what_goes(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_known_secrets_go_wherever_they_are() -> None:
    assert shown_path("/a/x-my secret word-y/b", ("my secret word",)) == "/a/***/b"


@given(st.sampled_from(["/x/", "/api/auth/verify/", "/api/entities/Note/"]), st.booleans())
def test_what_generators_print_is_never_shown(start: str, in_words: bool) -> None:
    made = [secrets.token_hex(32), f"pylon_{secrets.token_hex(32)}"]
    if start == "/api/auth/verify/":
        made += [secrets.token_urlsafe(24), secrets.token_hex(20), secrets.token_hex(8)]
    for token in made:
        assert token not in shown_path(f"{start}{token}{'/accept' if in_words else ''}")


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    assert shown_path(path).count("/") == path.count("/")
