"""`/api/sync/pull` and `/api/sync/push`: the change log over HTTP (spec 03 section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pylon.api.changed import telling
from pylon.asking import address_key
from pylon.codec import Outline, encode
from pylon.errors import PylonError
from pylon.http.describe import COUNT, JSON, TEXT, Docs, Parameter, json, shape
from pylon.http.rate_limit import RateLimiter, rate_limited
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.identity import SESSION_HINT, token_hint
from pylon.store.base import Store
from pylon.sync.browsers import browser_key
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push, Pushed, PushedChange, read_changes
from pylon.wire.events import pull_page_json

PULL_PATH = "/api/sync/pull"
"""Has an allowance of its own, so that catching up and other requests do not starve each other."""


_PUSHED = Outline("changes", client_id=str | None)

PULL = Docs(
    operation_id="syncPull",
    tag="sync",
    answers=json(shape("PullPage")),
    description="From 0 it is the whole state that the caller may see, in pages.",
    query=(
        Parameter(
            name="since",
            schema={**COUNT, "default": 0},
            description="The `cursor.last_seq` of the page before.",
        ),
        Parameter(
            name="limit",
            schema=TEXT,
            description="Passed over, as clients send it: a page has as much as it may have.",
        ),
        Parameter(
            name="snapshot_after",
            schema=TEXT,
            description="With `since=0`: the `snapshot_after` of the page before; empty at first.",
        ),
    ),
    errors=("400 INVALID_QUERY", "410 RESYNC_REQUIRED"),
    store="reads",
)
PUSH = Docs(
    operation_id="syncPush",
    tag="sync",
    answers=json(shape("PushAnswer")),
    description="In order, under the caller's policies; the first change that fails ends it.",
    caller="session",
    body={JSON: shape("Push")},
    errors=("403 FORBIDDEN",),
    large_body=True,
    store="writes",
)


def _given_position(text: str) -> int:
    """The cursor that a page of a first state has given out as its `snapshot_after`, else 0."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else 0


def _foreign_position() -> PylonError:
    return PylonError(
        400,
        "INVALID_QUERY",
        "snapshot_after must be what the page before has given.",
        "Leave it empty for the first page, or go on with since = cursor.last_seq.",
    )


def _results(changes: Sequence[PushedChange], done: Pushed) -> list[dict[str, Any]]:
    """What became of each change, in order, for clients newer than those that count (spec 09)."""
    results: list[dict[str, Any]] = []
    for place, change in enumerate(changes):
        result: dict[str, Any] = {
            "op_id": change.op_id,
            "row_id": change.row_id,
            "entity": change.entity,
            "kind": change.kind,
            "status": "pending",
        }
        if place < done.applied:
            seq = done.seqs[place]
            result["status"] = "replayed" if seq is None else "applied"
            if seq:
                result["seq"] = seq
        elif place == done.applied and done.failure is not None:
            result["status"] = "error"
            code, message = done.failure
            result["error"] = {"code": code, "message": message}
        results.append(result)
    return results


class SyncRoutes:
    """The handlers of the sync routes."""

    def __init__(self, pulls: Pulls, push: Push, store: Store, limiter: RateLimiter) -> None:
        self._pulls = pulls
        self._push = push
        self._store = store
        self._limiter = limiter

    def register(self, router: Router) -> None:
        """Add the routes."""
        push = "/api/sync/push"
        router.add("GET", PULL_PATH, self.pull, summary="Changes after a cursor", docs=PULL)
        router.add("POST", push, telling(self.push), summary="Changes made by a client", docs=PUSH)

    async def pull(self, request: Request) -> Response:
        since = request.query_int("since", default=0) or 0
        after = request.query("snapshot_after")
        is_first = not since
        if after and is_first:
            since = _given_position(after)
        identity = request.identity
        seconds = 0 if identity.is_admin else self._limiter.hit(address_key(request.client))
        if seconds:
            await self._pulls.refused(identity, request.client, since)
            raise rate_limited(seconds)
        browser = browser_key(request.client, request.header(b"user-agent"))
        page = await self._pulls.pull(identity, request.client, since, browser=browser)
        body = pull_page_json(
            [event for _, event in page.events], last_seq=page.last_seq, has_more=page.has_more
        )
        if after is not None and is_first and page.has_more:
            if after and not since:  # It would be given this page for ever.
                raise _foreign_position()
            body = b'%b,"snapshot_after":"%d"}' % (body[:-1], page.last_seq)
        return raw_json(body)

    async def push(self, request: Request) -> Response:
        identity = request.identity
        if identity.user_id is None:
            raise PylonError(
                403,
                "FORBIDDEN",
                "Pushing changes needs a session.",
                token_hint(identity, SESSION_HINT),
            )
        changes = read_changes(await request.json(_PUSHED))
        done = await self._push.push(identity, changes)
        answer = {
            "applied": done.applied,
            "deduped": done.deduped,
            "errors": done.errors,
            "cursor": {"last_seq": self._store.seq},
        }
        if done.ids:
            answer["ids"] = done.ids
        if changes:
            answer["results"] = _results(changes, done)
        return raw_json(encode(answer))
