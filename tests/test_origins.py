"""Origins, and the names that mean this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.origins import (
    is_loopback_address,
    is_loopback_authority,
    is_loopback_name,
    is_loopback_origin,
    is_origin,
)


@pytest.mark.parametrize("text", ["https://a.example", "http://[::1]:3000", "tauri://localhost"])
def test_origins(text: str) -> None:
    assert is_origin(text)


@pytest.mark.parametrize(
    "text", ["*", "null", "", "https://a.example/", "HTTPS://a.example", "a.example", "https://"]
)
def test_what_is_no_origin(text: str) -> None:
    assert not is_origin(text)


@pytest.mark.parametrize(
    "authority",
    [
        *("localhost", "LOCALHOST:3000", "localhost.", "app.localhost:4321", "a.b.localhost"),
        *("127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:4321", "[::ffff:127.0.0.1]:1"),
    ],
)
def test_names_of_this_machine(authority: str) -> None:
    assert is_loopback_authority(authority)
    assert is_loopback_origin(f"http://{authority}")
    assert is_loopback_origin(f"HTTPS://{authority}")


@pytest.mark.parametrize(
    "authority",
    [
        *("", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "notlocalhost"),
        *("localhost@evil.example", "localhost:", "localhost:8x", "localhost:123456", "0.0.0.0"),
        *("192.168.1.5", "[fe80::1]", "[::]", "[127.0.0.1]", "[::1", "[::1]x", "::1", "127.1"),
        *("2130706433", "0x7f000001", "localhost/", "localhost, evil.example", "127.0.0.1 "),
        *("\uff11\uff12\uff17.0.0.1", "localhost:\uff14"),
    ],
)
def test_names_of_other_machines(authority: str) -> None:
    assert not is_loopback_authority(authority)
    assert not is_loopback_origin(f"http://{authority}")


@pytest.mark.parametrize(
    "origin", ["null", "file://", "localhost", "ws://localhost", "://localhost"]
)
def test_origins_that_are_no_pages_of_this_machine(origin: str) -> None:
    assert not is_loopback_origin(origin)


def test_addresses_and_names_for_binding() -> None:
    assert is_loopback_address("::1")
    assert is_loopback_address("::ffff:127.0.0.1")
    assert not is_loopback_address("::ffff:10.0.0.1")
    assert not is_loopback_address("localhost")
    assert is_loopback_name("::1")
    for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"):
        assert is_loopback_name(host)
    for host in ("0.0.0.0", "::", "example.com", "10.0.0.1", ""):
        assert not is_loopback_name(host)


@given(st.text())
def test_no_text_breaks_them(text: str) -> None:
    is_origin(text)
    is_loopback_origin(text)
    is_loopback_authority(text)
