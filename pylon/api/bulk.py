"""`/api/transact`, `/api/batch`, `/api/link`, `/api/unlink` (spec 02 sections 6.1 to 6.3)."""

from __future__ import annotations

from typing import Any

from pylon.api.changed import telling
from pylon.api.known_keys import refuse_unknown
from pylon.api.once import Once
from pylon.codec import Outline, encode
from pylon.data.bulk import Bulk, Outcome, Transacted
from pylon.data.errors import told_denial
from pylon.data.operations import Operation
from pylon.errors import PylonError
from pylon.http.describe import JSON, Content, Docs, constant, json, object_of, shape
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router

LINKED = b'{"linked":true}'
UNLINKED = b'{"unlinked":true}'

_RELATING_KEYS = ("entity", "id", "relation", "target_id")

_TRANSACTION = Outline("operations", is_bare=True, strict=bool)
_BATCH = Outline("operations")

_FAILED: Content = {JSON: shape("TransactFailure")}
_RELATING = (
    *("400 ENTITY_NOT_FOUND", "400 RELATION_NOT_FOUND", "400 UPDATE_FAILED", "400 INVALID_COLUMN"),
    *("400 INVALID_DATA", "403 POLICY_DENIED", "404 NOT_FOUND", "500 INVALID_CRDT_FIELD"),
    "400 REFERENCE_NOT_FOUND",
)

TRANSACT = Docs(
    operation_id="atomicTransaction",
    tag="batch",
    answers={
        **json(shape("Transacted")),
        **dict.fromkeys((400, 403, 404, 409, 413), _FAILED),
    },
    body={JSON: {"anyOf": [shape("Operations"), shape("StrictOperations")]}},
    errors=("413 TOO_MANY_OPERATIONS", "500 INVALID_CRDT_FIELD"),
    large_body=True,
    store="writes",
    takes_key=True,
)
BATCH = Docs(
    operation_id="batchOperations",
    tag="batch",
    answers=json(shape("Batched")),
    body={JSON: object_of(operations=shape("Operations"))},
    errors=("400 MISSING_OPERATIONS", "413 TOO_MANY_OPERATIONS"),
    large_body=True,
    store="writes",
    takes_key=True,
)
LINK = Docs(
    operation_id="linkRows",
    tag="batch",
    answers=json(object_of(linked=constant(True))),
    body={JSON: shape("Link")},
    errors=_RELATING,
    store="writes",
    takes_key=True,
)
UNLINK = Docs(
    operation_id="unlinkRows",
    tag="batch",
    answers=json(object_of(unlinked=constant(True))),
    body={JSON: shape("Unlink")},
    errors=_RELATING,
    store="writes",
    takes_key=True,
)


class BulkRoutes:
    """The handlers. Anybody may call them; policies decide about each operation."""

    def __init__(self, bulk: Bulk, once: Once) -> None:
        self._bulk = bulk
        self._once = once

    def register(self, router: Router) -> None:
        """Add the routes."""
        add, once = router.add, self._once
        add(
            "POST",
            "/api/transact",
            once(telling(self.transact)),
            summary="Many writes or none",
            docs=TRANSACT,
        )
        add(
            "POST",
            "/api/batch",
            once(telling(self.batch)),
            summary="Many writes, each on its own",
            docs=BATCH,
        )
        add(
            "POST",
            "/api/link",
            once(telling(self.link)),
            summary="Set a relation of a row",
            docs=LINK,
        )
        add(
            "POST",
            "/api/unlink",
            once(telling(self.unlink)),
            summary="Clear a relation of a row",
            docs=UNLINK,
        )

    async def transact(self, request: Request) -> Response:
        body = await request.json(_TRANSACTION)
        operations, strict = _operations(body)
        return _transacted(await self._bulk.transact(request.identity, operations, strict=strict))

    async def batch(self, request: Request) -> Response:
        body = await request.json(_BATCH)
        refuse_unknown(body, ("operations",))
        operations = body.get("operations") if isinstance(body, dict) else None
        if not isinstance(operations, list):
            raise PylonError(400, "MISSING_OPERATIONS", 'The body needs an array "operations".')
        outcomes = await self._bulk.batch(request.identity, operations)
        failed = sum(outcome.error is not None for outcome in outcomes)
        return raw_json(
            encode(
                {
                    "results": [_line(each, ok=each.error is None) for each in outcomes],
                    "succeeded": len(outcomes) - failed,
                    "failed": failed,
                }
            )
        )

    async def link(self, request: Request) -> Response:
        await self._bulk.single(request.identity, _relating("link", await request.json()))
        return raw_json(LINKED)

    async def unlink(self, request: Request) -> Response:
        await self._bulk.single(request.identity, _relating("unlink", await request.json()))
        return raw_json(UNLINKED)


def _operations(body: Any) -> tuple[list[Any], bool]:
    """The operations of a transaction, and whether it is strict. A misspelt `strict` is refused:
    who wrote it counts on it."""
    refuse_unknown(body, ("operations", "strict"))
    given = body if isinstance(body, dict) else {"operations": body}
    operations, strict = given.get("operations"), given.get("strict", False)
    if not isinstance(operations, list) or not isinstance(strict, bool):
        raise PylonError(
            400,
            "INVALID_JSON",
            "The body must be an array of operations.",
            'Or an object with these keys: {"operations": [...], "strict": true}.',
        )
    return operations, strict


def _relating(kind: str, body: Any) -> Operation:
    """The operation of a body whose missing or non-string parts act as empty (spec 02 6.1)."""
    refuse_unknown(body, _RELATING_KEYS)
    parts = body if isinstance(body, dict) else {}
    texts = {
        name: text if isinstance(text := parts.get(name), str) else "" for name in _RELATING_KEYS
    }
    return Operation(kind=kind, **texts)


def _transacted(done: Transacted) -> Response:
    failure = done.failure
    body: dict[str, Any] = {
        "committed": failure is None,
        "results": [_line(each) for each in done.outcomes],
    }
    if failure is None:
        return raw_json(encode(body))
    body["failed_at"] = done.failed_at
    return raw_json(encode(body), failure.status)


def _line(outcome: Outcome, *, ok: bool | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {"op": outcome.kind}
    if outcome.id is not None:
        line["id"] = outcome.id
    if ok is not None:
        line["ok"] = ok
    if not outcome.changed:
        line["changed"] = False
    if outcome.error is not None:
        line["error"] = outcome.error.message
        line["code"] = outcome.error.code
        if (why := told_denial(outcome.error)) is not None:
            line["hint"] = why
        if "fields" in outcome.error.extra:
            line["fields"] = outcome.error.extra["fields"]
    return line
