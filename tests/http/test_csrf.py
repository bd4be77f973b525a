"""Who may change state, as a table over a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from pylon.config import Config
from pylon.errors import PylonError
from pylon.http.asgi import Header
from pylon.http.csrf import CsrfCheck
from tests.http.kernel import DEV, served
from tests.http.test_request import request

APP = "https://app.example"
REJECTED, NO_ORIGIN = "CSRF_REJECTED", "CSRF_NO_ORIGIN"

CASES: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({"origin": APP}, None),
    ({"origin": "HTTPS://APP.example"}, None),
    ({"referer": f"{APP}/page?q=1"}, None),
    ({"origin": "https://evil.example"}, REJECTED),
    ({"origin": "http://app.example"}, REJECTED),
    ({"origin": f"{APP}.evil.example"}, REJECTED),
    ({"referer": "https://evil.example/https://app.example"}, REJECTED),
    ({"referer": "https://app.example@evil.example/"}, NO_ORIGIN),
    ({"origin": "null"}, NO_ORIGIN),
    ({"origin": "nonsense"}, NO_ORIGIN),
    ({"origin": "https://evil.example", "referer": APP}, REJECTED),
    ({"origin": "https://evil.example", "authorization": "Bearer x"}, None),
    ({"origin": "https://evil.example", "authorization": "Basic x"}, REJECTED),
    ({"sec-fetch-site": "cross-site"}, REJECTED),
    ({"sec-fetch-site": "same-origin"}, None),
    ({"origin": APP, "sec-fetch-site": "cross-site"}, None),
    ({"host": "my.example", "origin": "https://my.example"}, None),
    ({"host": "my.example:443", "origin": "https://my.example"}, None),
    ({"host": "my.example:4321", "origin": "http://my.example:4321"}, None),
    ({"host": "my.example:4321", "origin": "http://my.example"}, REJECTED),
]


@pytest.fixture(scope="module")
def production() -> Iterator[httpx.Client]:
    with (
        served(Config(cors_origins=(APP,), csrf_origins=(APP,))) as kernel,
        httpx.Client(base_url=kernel.url, trust_env=False, verify=False, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize(("headers", "code"), CASES)
def test_table(production: httpx.Client, headers: dict[str, str], code: str | None) -> None:
    response = production.post("/api/who", headers=headers)
    if code is None:
        assert response.status_code == 200, response.text
    else:
        assert response.status_code == 403
        assert response.json()["error"]["code"] == code
    assert production.get("/api/who", headers=headers).status_code == 200
    assert production.options("/api/who", headers=headers).status_code == 204


def test_webhooks_are_exempt(production: httpx.Client) -> None:
    response = production.post("/api/webhooks/pay", headers={"origin": "https://evil.example"})
    assert response.json() == ["pay"]


def test_a_star_lets_everyone_pass(serve: Callable[[Config], httpx.Client]) -> None:
    client = serve(DEV)
    for headers, _ in CASES:
        assert client.post("/api/who", headers=headers).status_code == 200


def test_in_dev_pages_of_this_machine_pass_and_no_others() -> None:
    check = CsrfCheck((), loopback=True)
    for origin in (b"http://localhost:3000", b"http://127.0.0.1:5173", b"http://a.localhost"):
        check.check(request(headers=[(b"host", b"localhost:4321"), (b"origin", origin)]))
    for origin in (b"http://localhost.evil.example", b"https://evil.example", b"null"):
        with pytest.raises(PylonError):
            check.check(request(headers=[(b"host", b"localhost:4321"), (b"origin", origin)]))


def test_a_cookie_handshake_can_be_checked_whatever_its_method() -> None:
    check = CsrfCheck((APP,))
    foreign = request(headers=[(b"origin", b"https://evil.example")])
    check(foreign)
    with pytest.raises(PylonError) as caught:
        check.check(foreign)
    assert caught.value.code == REJECTED
    check.check(request(headers=[(b"origin", APP.encode())]))


OTHER = b"https://my.example"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"my.example"), (b"host", b"evil.example")],
        [(b"host", b"evil.example"), (b"host", b"my.example")],
        [(b"host", b"my.example"), (b"host", b"my.example")],
        [(b"host", b"my.example/")],
        [(b"host", b"user@my.example")],
        [(b"host", b"my.example, my.example")],
        [],
    ],
)
@pytest.mark.parametrize("named_by", [b"origin", b"referer"])
def test_an_ambiguous_host_is_nobodys_own(headers: list[Header], named_by: bytes) -> None:
    """Also where another server has read the request, and let such a head pass."""
    with pytest.raises(PylonError) as caught:
        CsrfCheck((APP,)).check(request(headers=[*headers, (named_by, OTHER)]))
    assert caught.value.code == REJECTED


@pytest.mark.parametrize("name", [b"origin", b"referer"])
def test_two_origins_are_none(name: bytes) -> None:
    host = (b"host", b"my.example")
    CsrfCheck((APP,)).check(request(headers=[host, (name, OTHER)]))
    for pair in ((OTHER, APP.encode()), (b"https://evil.example", OTHER)):
        with pytest.raises(PylonError) as caught:
            CsrfCheck((APP,)).check(request(headers=[host, *((name, each) for each in pair)]))
        assert caught.value.code == NO_ORIGIN
