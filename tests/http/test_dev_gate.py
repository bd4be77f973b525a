"""Whom dev mode lets in: hosts, origins and callers, as tables."""

from __future__ import annotations

import pytest

from pylon.errors import PylonError
from pylon.http.dev_gate import DevGate, has_dev_rights
from tests.http.test_request import request

LOCAL = DevGate(("https://app.example", "https://tunnel.example:8443"), host="127.0.0.1")
REMOTE = DevGate(("https://app.example",), allows_remote=True, host="box.lan")


def refusal(gate: DevGate, peer: str = "127.0.0.1", **headers: str | tuple[str, ...]) -> str | None:
    sent = [
        (name.replace("_", "-").encode(), each.encode())
        for name, value in headers.items()
        for each in ((value,) if isinstance(value, str) else value)
    ]
    try:
        gate(request(peer=peer, headers=sent))
    except PylonError as error:
        refused = error
    else:
        return None
    assert (refused.status, bool(refused.hint)) == (403, True)
    return refused.code


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:4321", None),
        ("LOCALHOST", None),
        ("app.localhost:4321", None),
        ("127.0.0.1:4323", None),
        ("[::1]:4322", None),
        ("app.example", None),
        ("tunnel.example:4321", None),
        ("evil.example", "DEV_HOST_REFUSED"),
        ("evil.example:4321", "DEV_HOST_REFUSED"),
        ("localhost.evil.example", "DEV_HOST_REFUSED"),
        ("app.example.evil.example", "DEV_HOST_REFUSED"),
        ("192.168.1.5:4321", "DEV_HOST_REFUSED"),
        ("box", "DEV_HOST_REFUSED"),
        ("", "DEV_HOST_REFUSED"),
        ("localhost, evil.example", "DEV_HOST_REFUSED"),
    ],
)
def test_hosts(host: str, code: str | None) -> None:
    assert refusal(LOCAL, host=host) == code
    assert refusal(LOCAL, host=("localhost", host)) == code
    assert refusal(LOCAL, host=(host, "localhost")) == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://localhost:3000", None),
        ("https://app.localhost", None),
        ("http://[::1]:5173", None),
        ("https://app.example", None),
        ("https://tunnel.example:8443", None),
        ("https://tunnel.example", "DEV_ORIGIN_REFUSED"),
        ("http://app.example", "DEV_ORIGIN_REFUSED"),
        ("https://evil.example", "DEV_ORIGIN_REFUSED"),
        ("null", "DEV_ORIGIN_REFUSED"),
        ("", "DEV_ORIGIN_REFUSED"),
        ("file://", "DEV_ORIGIN_REFUSED"),
        ("http://192.168.1.5:3000", "DEV_ORIGIN_REFUSED"),
        ("http://localhost.evil.example", "DEV_ORIGIN_REFUSED"),
    ],
)
def test_origins(origin: str, code: str | None) -> None:
    assert refusal(LOCAL, host="localhost:4321", origin=origin) == code


def test_callers() -> None:
    assert refusal(LOCAL, host="localhost") is None
    assert refusal(LOCAL) is None
    assert refusal(LOCAL, host="localhost", x_forwarded_for="127.0.0.1") is None
    for peer in ("192.168.1.5", ""):
        assert refusal(LOCAL, peer, host="localhost") == "DEV_REMOTE_REFUSED"
    proxied = refusal(LOCAL, host="localhost", x_forwarded_for="203.0.113.9")
    assert proxied == "DEV_REMOTE_REFUSED"


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        ("192.168.1.5:4321", None, None),
        ("192.168.1.5:4321", "http://192.168.1.5:3000", None),
        ("[fe80::1]:4321", None, None),
        ("box:4321", "http://box:3000", None),
        ("box.lan:4321", "http://box.lan:3000", None),
        ("box.local", "http://box.local", None),
        ("app.example", "https://app.example", None),
        ("evil.example:4321", None, "DEV_HOST_REFUSED"),
        ("box.lan.evil.example", None, "DEV_HOST_REFUSED"),
        ("192.168.1.5", "https://evil.example", "DEV_ORIGIN_REFUSED"),
        ("192.168.1.5", "null", "DEV_ORIGIN_REFUSED"),
        ("localhost", "file://box", "DEV_ORIGIN_REFUSED"),
    ],
)
def test_with_remote_callers_names_that_a_page_can_have_are_refused_still(
    host: str, origin: str | None, code: str | None
) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert refusal(REMOTE, "192.168.1.9", **headers) == code
    assert refusal(REMOTE, "127.0.0.1", x_forwarded_for="203.0.113.9", **headers) == code


def test_rights_are_for_this_machine_alone() -> None:
    here = request(peer="127.0.0.1")
    assert has_dev_rights(here, dev_mode=True)
    assert not has_dev_rights(here, dev_mode=False)
    assert not has_dev_rights(request(peer="192.168.1.9"), dev_mode=True)
    forwarded = request(peer="127.0.0.1", headers=[(b"x-forwarded-for", b"203.0.113.9")])
    assert not has_dev_rights(forwarded, dev_mode=True)


@pytest.mark.parametrize(
    ("server", "host", "code"),
    [
        (("test", None), "test", None),
        (("test", 80), "evil.example", "DEV_HOST_REFUSED"),
        (("127.0.0.1", 4321), "evil.example", "DEV_HOST_REFUSED"),
        (("::1", 4321), "::1", "DEV_HOST_REFUSED"),
        (("/run/app.sock", None), "/run/app.sock", "DEV_HOST_REFUSED"),
        (None, "test", "DEV_HOST_REFUSED"),
    ],
)
def test_an_app_that_is_called_without_a_socket_has_the_name_it_is_called_by(
    server: tuple[str, int | None] | None, host: str, code: str | None
) -> None:
    asked = request(peer="127.0.0.1", headers=[(b"host", host.encode())])
    asked.scope["server"] = server
    try:
        LOCAL(asked)
    except PylonError as error:
        found: str | None = error.code
    else:
        found = None
    assert found == code
