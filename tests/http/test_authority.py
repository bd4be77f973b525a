"""Hosts: what is one, and that nothing passes which another reader could take for another."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from pylon.http.authority import is_authority, is_same, sole_host

PIECES = st.sampled_from(
    [
        "a",
        "evil.example",
        ":",
        "80",
        "@",
        "/",
        "[",
        "]",
        "::1",
        "%2e",
        ".",
        ",",
        " ",
        "\t",
        "\\",
        "#",
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20))
def test_what_passes_is_the_whole_authority_to_everybody(text: str) -> None:
    value = text.encode()
    if not is_authority(value):
        return
    parts = urlsplit(f"http://{text}/path")
    assert parts.netloc == text
    assert (parts.path, parts.username, parts.query, parts.fragment) == ("/path", None, "", "")
    assert sole_host([(b"host", value)]) == text.lower()


def test_the_port_of_a_scheme_may_be_left_out() -> None:
    assert is_same(b"http", b"a:80", b"A")
    assert is_same(b"https", b"a", b"a:443")
    assert not is_same(b"http", b"a", b"a:443")
    assert not is_same(b"http", b"a", b"b")


def test_a_host_that_is_named_twice_is_none() -> None:
    assert sole_host([(b"x", b"y")]) is None
    assert sole_host([(b"host", b"a"), (b"host", b"a")]) is None
