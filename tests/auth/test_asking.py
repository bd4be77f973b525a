"""As whom the reads of a request wait: guests, and who is nobody, by their address."""

from __future__ import annotations

import asyncio
from typing import Any

from pylon import asking
from pylon.api.auth.identity import IdentityStage
from pylon.auth.identify import Identifier
from pylon.auth.sessions import Sessions
from pylon.http.request import Request

ADMIN_TOKEN = "correct-horse-battery"


async def nothing() -> Any:
    raise AssertionError("no body is read")


async def test_callers_are_users_or_addresses(sessions: Sessions) -> None:
    stage = IdentityStage(Identifier(sessions, admin_token=ADMIN_TOKEN, cookie_name="s"))

    async def caller(token: str | None, address: str) -> str | None:
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        scope = {"path": "/", "headers": headers, "client": (address, 1)}
        request = Request(scope, nothing)
        waits_for = stage(request)
        if waits_for is not None:
            await waits_for
        return asking.caller()

    async def of_a_request(token: str | None, address: str) -> str | None:
        return await asyncio.create_task(caller(token, address))

    ann, _ = await sessions.create("ann")
    guests = [(await sessions.create_guest())[0] for _ in range(3)]
    for address in ("192.0.2.1", "192.0.2.2"):
        assert await of_a_request(ann, address) == "ann"
        assert await of_a_request(None, address) == address
        assert {await of_a_request(guest, address) for guest in guests} == {address}
        assert await of_a_request("nobody knows it", address) == address
        assert await of_a_request(ADMIN_TOKEN, address) not in (None, address, "ann")
    # One subscriber has as many of these as there are bits.
    six = [await of_a_request(None, f"2001:db8:1:2::{last}") for last in "123"]
    assert len(set(six)) == 1
    assert asking.caller() is None, "outside of requests it is the server itself"
