"""Routes that write, as calls: the request crosses to the owner of the database, the response back.

The asking process has read the body and knows who asks; parsing, policies and rows are the owner's.
Which routes cross says their `Docs`: those that write, but for one that reads its body as it comes,
whose work crosses piece by piece instead. Where everything is one process nobody calls this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from pylon.asking import ASKER
from pylon.calls import Call, Calls
from pylon.http.asgi import Message
from pylon.http.describe import Docs
from pylon.http.request import Request
from pylon.http.response import Response
from pylon.http.router import Handler, Route, Router
from pylon.identity import Identity


class RouteAsked(msgspec.Struct, frozen=True, array_like=True):
    """A request: its parts as they stand in `Request`, its whole body, and the path's
    parameters."""

    method: str
    path: str
    query_string: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    peer: str
    client: str
    request_id: bytes
    body: bytes
    params: tuple[str, ...]


class RouteAnswered(msgspec.Struct, frozen=True, array_like=True):
    """A response whose body is known."""

    status: int
    body: bytes
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]


RouteCall = Call[RouteAsked, RouteAnswered]


def crosses(route: Route) -> bool:
    """Whether the route is asked of the owner as a whole."""
    docs = route.docs
    return isinstance(docs, Docs) and docs.store == "writes" and not docs.streams_body


def route_calls(router: Router) -> Iterator[tuple[Route, RouteCall]]:
    """The calls that the routes of a service are."""
    for route in router.routes():
        if crosses(route):
            yield route, _call(route)


def cross(router: Router, ask: Calls, register: Callable[[Call[Any, Any]], None]) -> None:
    """Register the calls, and let the routes of this table ask for them."""
    for route, call in route_calls(router):
        register(call)
        router.replace(route, _asking(call, ask))


# --- the asking side -------------------------------------------------------------------------


def _asking(call: RouteCall, calls: Calls) -> Handler:
    async def handler(request: Request, *params: str) -> Response:
        asked = RouteAsked(
            method=request.method,
            path=request.path,
            query_string=request.query_string,
            headers=tuple(request.scope["headers"]),
            peer=request.peer,
            client=request.client,
            request_id=request.request_id,
            body=await request.body(),
            params=params,
        )
        answered = await calls.ask(call, request.identity, asked)
        return Response(
            answered.status,
            answered.body,
            content_type=answered.content_type,
            headers=answered.headers,
        )

    return handler


# --- the owner -------------------------------------------------------------------------------


def _call(route: Route) -> RouteCall:
    handler = route.handler

    async def run(identity: Identity, asked: RouteAsked) -> RouteAnswered:
        response = await handler(_request(identity, asked), *asked.params)
        assert isinstance(response, Response), f"{route.pattern} streams, and cannot cross"
        return RouteAnswered(
            response.status, response.body, response.content_type, tuple(response.headers)
        )

    return Call(
        name=f"{route.method} {route.pattern}", takes=RouteAsked, gives=RouteAnswered, run=run
    )


def _request(identity: Identity, asked: RouteAsked) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": asked.body, "more_body": False}

    scope = {
        "type": "http",
        "method": asked.method,
        "path": asked.path,
        "query_string": asked.query_string,
        "headers": list(asked.headers),
        "client": (asked.peer, 0),
    }
    request = Request(scope, receive, request_id=asked.request_id)
    request.body_bytes_max = max(request.body_bytes_max, len(asked.body))  # It was let in there.
    request.client = asked.client
    request.identity = identity
    ASKER.set((asked.client, identity))
    return request
