"""The request: mount points, addresses behind proxies, cookies and bodies, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import patch
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.errors import PylonError
from pylon.http.asgi import Header, Message, Receive
from pylon.http.errors import ClientDisconnected
from pylon.http.request import Request


def receiving(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def request(
    path: str = "/",
    *,
    raw: bytes | None = None,
    root: str = "",
    query: bytes = b"",
    headers: Sequence[Header] = (),
    peer: str = "10.0.0.1",
    hops: int = 0,
    receive: Receive | None = None,
    started: float = 0.0,
) -> Request:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": raw,
        "root_path": root,
        "query_string": query,
        "headers": list(headers),
        "client": (peer, 1) if peer else None,
    }
    return Request(
        scope,
        receive or receiving(),
        request_id=b"ab",
        started=started,
        trusted_proxy_hops=hops,
    )


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("path", "raw", "root", "seen"),
    [
        ("/api/x", b"/api/x", "", "/api/x"),
        ("/a b", b"/a%20b", "", "/a%20b"),
        ("/pylon/api/x", b"/pylon/api/x", "/pylon", "/api/x"),
        ("/pylon/a/b", b"/pylon/a%2Fb", "/pylon", "/a%2Fb"),
        ("/my app/x", b"/my%20app/x", "/my app", "/x"),
        ("/pylon", b"/pylon", "/pylon", "/"),
        ("/pylon/é", None, "/pylon", "/%C3%A9"),
        ("/api/x", None, "", "/api/x"),
        ("/pylonics/x", b"/pylonics/x", "/pylon", "/pylonics/x"),
    ],
)
def test_path_below_the_mount_point(path: str, raw: bytes | None, root: str, seen: str) -> None:
    assert request(path, raw=raw, root=root).path == seen


@pytest.mark.parametrize(
    ("hops", "values", "client"),
    [
        (0, [b"1.1.1.1"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, [b"1.1.1.1"], "1.1.1.1"),
        (1, [b"9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        (2, [b"9.9.9.9, 1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        (2, [b"9.9.9.9, 1.1.1.1", b"2.2.2.2"], "1.1.1.1"),
        (2, [b"1.1.1.1"], "1.1.1.1"),
        (1, [b"1.1.1.1:5000"], "1.1.1.1"),
        (1, [b"[2001:DB8::1]:5000"], "2001:db8::1"),
        (1, [b"2001:db8::1"], "2001:db8::1"),
        (1, [b"unknown"], "10.0.0.1"),
        (1, [b""], "10.0.0.1"),
    ],
)
def test_client_behind_proxies(hops: int, values: list[bytes], client: str) -> None:
    headers = [(b"x-forwarded-for", value) for value in values]
    assert request(headers=headers, hops=hops).client == client


@pytest.mark.parametrize(
    ("peer", "headers", "local"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("10.0.0.1", [], False),
        ("", [], False),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], True),
        ("127.0.0.1", [(b"forwarded", b"for=127.0.0.1")], True),
        ("127.0.0.1", [(b"forwarded", b"for=10.0.0.1")], False),
    ],
)
def test_is_local(peer: str, headers: list[Header], local: bool) -> None:
    assert request(peer=peer, headers=headers).is_local is local


def test_bearer_is_exact() -> None:
    def bearer(value: bytes) -> str | None:
        return request(headers=[(b"authorization", value)]).bearer()

    assert bearer(b"Bearer  x ") == " x "
    assert bearer(b"Bearer ") == ""
    assert bearer(b"bearer x") is None
    assert bearer(b"Basic x") is None
    assert request().bearer() is None


def test_first_cookie_counts_over_all_headers() -> None:
    found = request(headers=[(b"cookie", b"a; b=1"), (b"cookie", b"c=x=y; b=2; d=")])
    assert [found.cookie(name) for name in ("a", "b", "c", "d", "e")] == [
        None,
        "1",
        "x=y",
        "",
        None,
    ]


def test_query_keeps_blank_and_first() -> None:
    found = request(query=b"a=1&a=2&b=&c=%C3%A9&d=%FF&n=+7")
    assert found.query("a") == "1"
    assert found.query("b") == ""
    assert found.query("c") == "é"
    assert found.query("d") == "\ufffd"
    assert found.query_int("a", default=9, minimum=5) == 5
    assert found.query_int("b", default=9) == 9, "as if it were not there"
    with pytest.raises(PylonError, match="n takes a whole number"):
        found.query_int("n", default=9)


@given(st.text("ab=&;_~\u00e9\0 %+", max_size=20))
def test_a_query_is_read_as_the_standard_library_does(text: str) -> None:
    expected = parse_qs(text, keep_blank_values=True)
    assert request(query=text.encode()).query_values() == expected


def test_a_flag_of_the_query_is_yes_or_no() -> None:
    found = request(query=b"a=1&b=true&c=0&d=false&e=&f=yes")
    assert [found.query_flag(name) for name in "abcdex"] == [True, True, *[False] * 4]
    with pytest.raises(PylonError, match='f is true or false, not "yes"'):
        found.query_flag("f")


def test_a_query_of_many_fields_is_refused() -> None:
    with pytest.raises(PylonError) as caught:
        request(query=b"a=1&" * (limits.QUERY_FIELDS_MAX + 1)).query("a")
    assert (caught.value.status, caught.value.code) == (400, "INVALID_QUERY")


async def test_body_is_read_once() -> None:
    found = request(receive=receiving(part(b"a", more=True), part(b""), part(b"never")))
    assert await found.body() == b"a"
    assert await found.body() == b"a"


async def test_body_beyond_its_limit() -> None:
    found = request(receive=receiving(part(b"aaa", more=True), part(b"aaa", more=True)))
    with pytest.raises(PylonError) as caught:
        await found.body(bytes_max=5)
    assert caught.value.status == 413
    declared = request(headers=[(b"content-length", b"6")])
    with pytest.raises(PylonError):
        await declared.body(bytes_max=5)


async def test_client_gone() -> None:
    found = request(receive=receiving(part(b"a", more=True), {"type": "http.disconnect"}))
    with pytest.raises(ClientDisconnected):
        await found.body()


async def test_a_body_that_never_arrives() -> None:
    with (
        patch.object(limits, "BODY_READ_SECONDS_MAX", 0.01),
        pytest.raises(PylonError) as caught,
    ):
        await request(receive=receiving(part(b"a", more=True))).body()
    assert (caught.value.status, caught.value.code) == (408, "REQUEST_TIMEOUT")
