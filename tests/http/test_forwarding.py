"""Whether a request began on this machine: the peer, and every proxy that spoke, must say so."""

from __future__ import annotations

import pytest

from pylon.http.forwarding import began_on_this_machine


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"evil.example"), (b"referer", b"https://evil.example")],
        [(b"x-forwarded-for", b"127.0.0.1")],
        [(b"x-forwarded-for", b"::1, 127.0.0.1"), (b"x-forwarded-host", b"localhost:5173")],
        [(b"x-forwarded-for", b"::ffff:127.0.0.1"), (b"x-forwarded-proto", b"http")],
        [(b"forwarded", b'for="[::1]:5000";host=localhost:3000;proto=http, for=127.0.0.1')],
        [(b"via", b"1.1 localhost:5173"), (b"x-real-ip", b"127.0.0.1")],
    ],
)
def test_it_began_here(headers: list[tuple[bytes, bytes]]) -> None:
    assert began_on_this_machine("127.0.0.1", headers)
    assert began_on_this_machine("::1", headers)
    for peer in ("", "10.0.0.1", "testclient", "fe80::1"):
        assert not began_on_this_machine(peer, headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-for", b"127.0.0.1, 203.0.113.9"),
        (b"x-forwarded-for", b"203.0.113.9, 127.0.0.1"),
        (b"x-forwarded-for", b""),
        (b"x-forwarded-for", b"unknown"),
        (b"x-forwarded-host", b"abc.ngrok.app"),
        (b"x-forwarded-server", b"edge-1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-anything", b"1"),
        (b"forwarded", b"for=203.0.113.9"),
        (b"forwarded", b"for=127.0.0.1;by=10.0.0.1"),
        (b"forwarded", b"for=_hidden"),
        (b"forwarded", b"127.0.0.1"),
        (b"forwarded", b"proto=https"),
        (b"via", b"1.1 vegur"),
        (b"via", b""),
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-client-ip", b"203.0.113.9"),
        (b"true-client-ip", b"203.0.113.9"),
        (b"cf-connecting-ip", b"203.0.113.9"),
        (b"cf-ray", b"8f2"),
        (b"fly-client-ip", b"203.0.113.9"),
        (b"x-envoy-external-address", b"203.0.113.9"),
        (b"ngrok-trace-id", b"1"),
    ],
)
def test_a_proxy_spoke_for_someone_else(name: bytes, value: bytes) -> None:
    assert not began_on_this_machine("127.0.0.1", [(name, value)])
    # One header that says so is enough, whatever others say.
    here = (b"x-forwarded-for", b"127.0.0.1")
    if value != b"https" and value != b"proto=https":
        assert not began_on_this_machine("127.0.0.1", [here, (name, value)])
