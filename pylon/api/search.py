"""`/api/search` (spec 02 section 7.1). Parses, calls `data.search`, renders."""

from __future__ import annotations

from typing import Final

from pylon.clock import Clock
from pylon.data.rows import Rows
from pylon.data.search import Searches
from pylon.errors import PylonError
from pylon.http.describe import COUNT, FLAG, JSON, TEXT, Docs, json, listed, object_of, shape
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router

_COUNTS: Final = {
    "type": "object",
    "description": "By field, then by value.",
    "additionalProperties": {"type": "object", "additionalProperties": COUNT},
}

SEARCH: Final = Docs(
    operation_id="search{entity}",
    tag="{entity}",
    description="Names that are not configured for search are passed over.",
    answers=json(
        object_of(
            hits=listed(shape("{entity}")),
            facet_counts=_COUNTS,
            total=COUNT,
            took_ms=COUNT,
            facetCounts=_COUNTS,
            tookMs=COUNT,
        )
    ),
    body={
        JSON: {
            "type": "object",
            "properties": {
                "query": TEXT,
                "where": shape("{entity}.Found"),
                "filters": {"type": "object", "description": "Facet to value."},
                "facets": {"type": "array", "items": TEXT},
                "facetMode": {"enum": ["include", "exclude"]},
                "facetLimit": COUNT,
                "sort": {
                    "type": ["array", "null"],
                    "prefixItems": [TEXT, TEXT],
                    "minItems": 2,
                    "maxItems": 2,
                },
                "page": COUNT,
                "page_size": COUNT,
                "pageSize": COUNT,
                "highlight": {"anyOf": [FLAG, {"type": "array", "items": TEXT}]},
                "typos": FLAG,
            },
        }
    },
    errors=(
        "400 INVALID_QUERY",
        "400 SEARCH_NOT_CONFIGURED",
        "403 SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY",
        "404 ENTITY_NOT_FOUND",
    ),
    store="reads",
    rule="read",
    only_with="search",
)

NO_ENTITY: Final = Docs(
    operation_id="searchNothing",
    tag="query",
    description="Always refused: the path lacks the entity.",
    answers={},
    errors=("400 MISSING_ENTITY",),
)


class SearchRoutes:
    """The handlers of the search routes."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._searches = Searches(rows.door)
        self._clock = clock

    def register(self, router: Router) -> None:
        """Add the routes."""
        router.add(
            "POST", "/api/search/{entity}", self.search_rows, summary="Search rows", docs=SEARCH
        )
        router.add("POST", "/api/search", self.search_nothing, summary="Refused", docs=NO_ENTITY)

    async def search_rows(self, request: Request, entity: str) -> Response:
        started = self._clock.monotonic()
        body = await request.json()
        found = await self._searches.find(request.identity, entity, body)
        took_ms = round((self._clock.monotonic() - started) * 1000)
        return raw_json(found.to_json(took_ms))

    async def search_nothing(self, request: Request) -> Response:
        raise PylonError(
            400, "MISSING_ENTITY", "Which entity?", "The path is /api/search/<Entity>."
        )
