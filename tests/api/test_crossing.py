"""Routes as calls: the owner's handler sees the request as if it had been asked itself, and the
asking process answers what it answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.api.crossing import cross, crosses
from pylon.calls import CallTable, LoopbackCalls
from pylon.errors import PylonError
from pylon.http.asgi import Header, Message
from pylon.http.describe import Docs, Hidden, json
from pylon.http.errors import HttpError
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, StreamResponse, error_response
from pylon.http.router import Handler, Router
from pylon.identity import ADMIN, ANONYMOUS, Identity

ROW = "/rows/{entity}/{id*}"

ANN = Identity(user_id="ann", tenant_id="acme", roles=("a",), email="a@x", session_id=b"\x00\xff")


def docs(**more: Any) -> Docs:
    return Docs(operation_id="test", tag="test", answers=json({}), **more)


WRITES = docs(store="writes")


@dataclass
class Asking:
    """A process whose only route is asked of another; what the other was given."""

    handler: Handler
    pattern: str = ROW
    docs: Docs | Hidden = WRITES
    seen: list[Request] = field(default_factory=list)
    params: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.router = Router()
        self.router.add("POST", self.pattern, self._owner, docs=self.docs)
        table = CallTable(lambda: 0)
        cross(self.router, LoopbackCalls(table), table.add)

    async def _owner(self, request: Request, *params: str) -> AnyResponse:
        self.seen.append(request)
        self.params.append(params)
        return await self.handler(request, *params)

    async def answer(self, request: Request) -> Response:
        """The answer to a request, as the pipeline would have it."""
        handler, params = self.router.match(request.method, request.path)
        try:
            response = await handler(request, *params)
        except PylonError as error:
            response = error_response(error)
        assert isinstance(response, Response)
        return response


async def fine(_request: Request, *_params: str) -> Response:
    return Response(200)


def asked(
    path: str = "/rows/Note/1",
    *,
    headers: Iterable[Header] = (),
    body: bytes = b"",
    query: bytes = b"",
    peer: str = "127.0.0.1",
    hops: int = 0,
    identity: Identity = ANONYMOUS,
) -> Request:
    pieces = [body[:3], body[3:]]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": list(headers),
        "client": (peer, 4711),
    }
    request = Request(scope, receive, request_id=b"0123abcd", trusted_proxy_hops=hops)
    request.identity = identity
    return request


# --- there -----------------------------------------------------------------------------------

names = st.sampled_from([b"cookie", b"authorization", b"x-forwarded-for", b"user-agent", b"origin"])
headers = st.lists(st.tuples(names, st.binary(max_size=20)), max_size=6)


@given(headers, st.binary(max_size=40), st.binary(max_size=20))
async def test_the_owner_sees_the_request_as_it_was(
    sent: list[Header], body: bytes, query: bytes
) -> None:
    asking = Asking(fine)
    request = asked(headers=sent, body=body, query=query)
    await asking.answer(request)
    (seen,) = asking.seen
    assert (seen.method, seen.path, seen.query_string) == ("POST", "/rows/Note/1", query)
    assert seen.scope["headers"] == sent
    assert seen.headers == request.headers
    assert await seen.body() == body
    assert (seen.request_id, seen.id) == (b"0123abcd", "0123abcd")
    assert seen.bearer() == request.bearer()
    assert seen.is_local == request.is_local


async def test_of_repeated_cookies_the_first_counts_there_too() -> None:
    asking = Asking(fine)
    sent = [(b"cookie", b"a=1; s=first"), (b"cookie", b"s=second")]
    await asking.answer(asked(headers=sent))
    assert asking.seen[0].cookie("s") == "first"


@pytest.mark.parametrize("identity", [ANN, ADMIN, ANONYMOUS])
async def test_the_caller_is_known_already(identity: Identity) -> None:
    asking = Asking(fine)
    await asking.answer(asked(identity=identity))
    assert asking.seen[0].identity == identity


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/rows/Note/1", ("Note", "1")),
        ("/rows/Note/a%2Fb/c%20d", ("Note", "a/b/c d")),
        ("/rows/B%C3%A4r/%F0%9F%90%BB", ("Bär", "🐻")),
        ("/rows/Note/%2525", ("Note", "%25")),
    ],
)
async def test_parameters_are_decoded_once(path: str, params: tuple[str, ...]) -> None:
    asking = Asking(fine)
    await asking.answer(asked(path))
    assert asking.params == [params]
    assert asking.seen[0].path == path


@pytest.mark.parametrize(
    ("peer", "sent", "hops", "client", "is_local"),
    [
        ("127.0.0.1", [], 0, "127.0.0.1", True),
        ("::1", [], 0, "::1", True),
        ("10.0.0.1", [], 0, "10.0.0.1", False),
        ("127.0.0.1", [(b"x-forwarded-for", b"9.9.9.9")], 0, "127.0.0.1", False),
        ("127.0.0.1", [(b"x-forwarded-for", b"8.8.8.8, 9.9.9.9")], 1, "9.9.9.9", False),
        ("127.0.0.1", [(b"x-forwarded-for", b"8.8.8.8, 9.9.9.9")], 2, "8.8.8.8", False),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], 1, "127.0.0.1", True),
    ],
)
async def test_the_owner_knows_from_where_it_was_asked(
    peer: str, sent: list[Header], hops: int, client: str, is_local: bool
) -> None:
    """The proxies have been counted where the socket is, and are not counted again."""
    asking = Asking(fine)
    await asking.answer(asked(peer=peer, headers=sent, hops=hops))
    (seen,) = asking.seen
    assert (seen.peer, seen.client, seen.is_local) == (peer, client, is_local)


async def test_a_body_that_is_too_large_is_refused_before_it_crosses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 8)
    asking = Asking(fine)
    assert (await asking.answer(asked(body=b"12345678"))).status == 200
    response = await asking.answer(asked(body=b"123456789"))
    assert (response.status, response.headers) == (413, [(b"connection", b"close")])
    assert len(asking.seen) == 1


async def test_what_a_path_may_have_more_crosses_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 8)

    async def takes_much(request: Request, *_params: str) -> Response:
        return Response(200, await request.body(bytes_max=20))

    large = asked(body=b"x" * 15)
    large.body_bytes_max = 20
    assert (await Asking(takes_much).answer(large)).status == 200


async def test_a_route_that_takes_less_refuses_it_there() -> None:
    async def takes_little(request: Request, *_params: str) -> Response:
        return Response(200, await request.body(bytes_max=8))

    asking = Asking(takes_little)
    announced = [(b"content-length", b"9")]
    for request in (asked(body=b"123456789"), asked(headers=announced, body=b"123456789")):
        response = await asking.answer(request)
        assert (response.status, response.headers) == (413, [(b"connection", b"close")])


# --- and back --------------------------------------------------------------------------------


async def test_the_answer_comes_back_as_it_was_given() -> None:
    cookies = [(b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Max-Age=0")]

    async def answers(_request: Request, *_params: str) -> Response:
        return Response(201, b"\x00\xff", content_type=b"text/x", headers=cookies)

    response = await Asking(answers).answer(asked())
    assert (response.status, response.body, response.content_type) == (201, b"\x00\xff", b"text/x")
    assert response.headers == cookies
    response.headers.append((b"x-request-id", b"1"))  # as the pipeline does


@pytest.mark.parametrize(
    "error",
    [
        PylonError(404, "NOT_FOUND", "No such row.", "Look elsewhere."),
        PylonError(503, "OVERLOADED", "Busy.", retry_after_secs=7),
        PylonError(410, "RESYNC_REQUIRED", "Start again.", oldest_seq=12),
        HttpError(429, "RATE_LIMITED", "Later.", headers=((b"retry-after", b"3"),)),
    ],
)
async def test_a_refusal_is_answered_as_it_would_be_there(error: PylonError) -> None:
    async def refuses(_request: Request, *_params: str) -> Response:
        raise error

    response, direct = await Asking(refuses).answer(asked()), error_response(error)
    assert (response.status, response.body) == (direct.status, direct.body)
    assert response.headers == direct.headers
    assert (b"retry-after" in dict(direct.headers)) == (error.status in {429, 503})


async def test_what_nobody_expected_is_raised_as_it_was() -> None:
    async def fails(_request: Request, *_params: str) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Asking(fails).answer(asked())


# --- which routes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("described", "does"),
    [
        (WRITES, True),
        (docs(store="reads"), False),
        (docs(), False),
        (docs(store="writes", streams_body=True), False),
        (Hidden(reason="a test"), False),
    ],
)
async def test_only_what_writes_crosses_and_a_stream_does_not(
    described: Docs | Hidden, does: bool
) -> None:
    asking = Asking(fine, docs=described)
    (route,) = asking.router.routes()
    assert crosses(route) == does
    request = asked()
    await asking.answer(request)
    assert (asking.seen[0] is not request) == does


async def test_an_answer_that_has_no_end_cannot_cross() -> None:
    async def chunks() -> Any:
        yield b""

    async def streams(_request: Request, *_params: str) -> StreamResponse:
        return StreamResponse(200, chunks())

    with pytest.raises(AssertionError, match="cannot cross"):
        await Asking(streams).answer(asked())
