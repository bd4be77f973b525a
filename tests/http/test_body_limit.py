"""Bodies that are read as streams, and the stage that knows which may be large."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.http.asgi import Message
from pylon.http.body_limit import BodyLimit
from pylon.http.errors import ClientDisconnected
from pylon.http.request import Request
from tests.http.test_request import part, receiving, request


async def pieces(found: Request, bytes_max: int = 100) -> list[bytes]:
    return [piece async for piece in found.stream(bytes_max=bytes_max)]


async def test_pieces_come_as_they_arrive() -> None:
    parts = (part(b"a", more=True), part(b"", more=True), part(b"bc", more=True), part(b""))
    assert await pieces(request(receive=receiving(*parts))) == [b"a", b"bc"]
    assert await pieces(request(receive=receiving(part(b"")))) == []


async def test_the_next_piece_is_taken_when_it_is_asked_for() -> None:
    taken: list[int] = []

    async def receive() -> Message:
        taken.append(1)
        return part(b"x", more=len(taken) < 3)

    stream = request(receive=receive).stream(bytes_max=100)
    for count in (1, 2, 3):
        await anext(stream)
        assert len(taken) == count


async def test_a_body_that_was_read_is_streamed_again() -> None:
    found = request(receive=receiving(part(b"ab")))
    await found.body()
    assert await pieces(found) == [b"ab"]


async def test_a_stream_beyond_its_limit() -> None:
    long = request(receive=receiving(part(b"aaa", more=True), part(b"bbb")))
    with pytest.raises(PylonError) as refused:
        await pieces(long, 5)
    assert refused.value.status == 413
    declared = request(headers=[(b"content-length", b"6")])
    with pytest.raises(PylonError) as refused:
        await pieces(declared, 5)
    assert refused.value.status == 413


async def test_a_stream_that_breaks_off() -> None:
    gone = request(receive=receiving(part(b"a", more=True), {"type": "http.disconnect"}))
    with pytest.raises(ClientDisconnected):
        await pieces(gone)
    silent = request(receive=receiving(part(b"a", more=True)))
    with patch.object(limits, "BODY_READ_SECONDS_MAX", 0.01), pytest.raises(PylonError) as refused:
        await pieces(silent)
    assert refused.value.code == "REQUEST_TIMEOUT"


def test_some_paths_may_have_more() -> None:
    stage = BodyLimit({"/large": 2 * limits.BODY_BYTES_MAX})
    much = [(b"content-length", b"%d" % (limits.BODY_BYTES_MAX + 1))]
    too_much = [(b"content-length", b"%d" % (2 * limits.BODY_BYTES_MAX + 1))]
    stage(request("/other"))
    stage(request("/large", headers=much))
    stage(request("/large/", headers=much))
    for path, headers in (("/other", much), ("/large/x", much), ("/large", too_much)):
        with pytest.raises(PylonError) as refused:
            stage(request(path, headers=headers))
        assert refused.value.code == "PAYLOAD_TOO_LARGE"
