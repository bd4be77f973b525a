"""`/api/query`, `/api/lookup`, `/api/aggregate` (spec 02 section 5).

Parses, calls `data.query`, `data.graph` or `data.aggregate`, renders.
"""

from __future__ import annotations

from pylon import limits
from pylon.api.encoding import rows_in_turns
from pylon.api.long_lists import FIELDS, found_response, long_list_response
from pylon.asking import address_key
from pylon.codec import encode
from pylon.data.aggregate import Aggregates
from pylon.data.graph import Graphs
from pylon.data.lists import Lists
from pylon.data.long_lists import LongList
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.fair_queue import FairQueue
from pylon.http.describe import JSON, Docs, Hidden, json, listed, object_of, shape
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, raw_json
from pylon.http.router import Router

REFUSALS = ("400 INVALID_QUERY", "400 INVALID_COLUMN", "403 POLICY_DENIED")

QUERY = Docs(
    operation_id="query{entity}",
    tag="{entity}",
    answers=json({"anyOf": [listed(shape("{entity}.Selected")), shape("{entity}.Counted")]}),
    description="With `$count` the list stands in an object that tells the total.",
    body={JSON: shape("{entity}.Filter")},
    errors=REFUSALS,
    store="reads",
    rule="read",
)
GRAPH = Docs(
    operation_id="graphQuery",
    tag="query",
    answers=json(shape("GraphResult")),
    body={JSON: shape("GraphQuery")},
    errors=(*REFUSALS, "400 ENTITY_NOT_FOUND", "400 RELATION_NOT_FOUND"),
    store="reads",
)
LOOKUP = Docs(
    operation_id="lookup{entity}",
    tag="{entity}",
    answers=json(shape("{entity}.Selected")),
    path={"field": shape("{entity}.Field")},
    query=(FIELDS,),
    names_its_answer=True,
    errors=(*REFUSALS, "404 NOT_FOUND"),
    store="reads",
    rule="read",
)
AGGREGATE = Docs(
    operation_id="aggregate{entity}",
    tag="{entity}",
    answers=json(object_of(rows=listed({"type": "object"}))),
    body={JSON: shape("{entity}.Aggregate")},
    errors=REFUSALS,
    store="reads",
    rule="read",
)

NO_VALUE = "/api/lookup/{entity}/{field}"
EMPTY = Hidden(reason="the same as with a value, which is empty")


class QueryRoutes:
    """The handlers of the query routes."""

    def __init__(self, rows: Rows) -> None:
        door = rows.door
        self._queries = Queries(door)
        self._lists = Lists(door)
        self._graphs = Graphs(door)
        self._aggregates = Aggregates(door)
        self._gate = FairQueue(
            None,
            each=limits.ANSWERS_AT_ONCE,
            waiting_each_max=limits.ANSWERS_WAITING_MAX,
            refusal=_too_many,
        )
        """What is being made is counted nowhere else, neither as a read, which is over, nor as
        unsent, which it is not yet."""

    def register(self, router: Router) -> None:
        """Add the routes."""
        lookup, aggregate = "/api/lookup/{entity}/{field}/{value*}", "/api/aggregate/{entity}"
        add = router.add
        add("POST", "/api/query/{entity}", self.query_rows, summary="Rows that match", docs=QUERY)
        add("POST", "/api/query", self.query_graph, summary="Rows with related rows", docs=GRAPH)
        add("GET", lookup, self.lookup_row, summary="The first row with a value", docs=LOOKUP)
        add("GET", NO_VALUE, self.lookup_empty, summary="The first with an empty text", docs=EMPTY)
        self._no_route = router.not_found
        add("POST", aggregate, self.aggregate_rows, summary="Counts, sums, groups", docs=AGGREGATE)

    async def query_rows(self, request: Request, entity: str) -> AnyResponse:
        body = await request.json()
        if isinstance(body, dict) and "$count" in body:
            return found_response(await self._lists.query(request.identity, entity, body))
        found = await self._queries.find_json(request.identity, entity, body)
        if isinstance(found, LongList):
            return long_list_response(found, b"[", lambda: b"]")
        return raw_json(found)

    async def query_graph(self, request: Request) -> Response:
        body = await request.json()
        client = address_key(request.client)
        await self._gate.take(client)
        try:
            found = await self._graphs.find(request.identity, body)
            answer = {name: await rows_in_turns(rows) for name, rows in found.items()}
        finally:
            self._gate.give(client)
        return raw_json(encode(answer))

    async def lookup_row(self, request: Request, entity: str, field: str, value: str) -> Response:
        row = await self._queries.lookup(request.identity, entity, field, value)
        if fields := request.query("fields"):
            row = self._lists.pick(request.identity, entity, row, fields)
        return raw_json(encode(row))

    async def lookup_empty(self, request: Request, entity: str, field: str) -> Response:
        """A value of no letters: the path ends with the slash before it."""
        if not request.path.endswith("/"):
            raise self._no_route(request.path)
        return await self.lookup_row(request, entity, field, "")

    async def aggregate_rows(self, request: Request, entity: str) -> Response:
        body = await request.json()
        client = address_key(request.client)
        await self._gate.take(client)
        try:
            rows = await self._aggregates.run(request.identity, entity, body)
            answer = {"rows": await rows_in_turns(rows)}
        finally:
            self._gate.give(client)
        return raw_json(encode(answer))


def _too_many() -> PylonError:
    return PylonError(
        503,
        "OVERLOADED",
        "Too many of your queries are being answered.",
        "Wait for their answers.",
        retry_after_secs=limits.UNSENT_RETRY_SECONDS,
    )
