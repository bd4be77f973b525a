"""An app whose entities and fields may be called anything, and questions to all its read doors.

`Names` says what the app of `manifest` calls each thing; the answers of `ask` come back in neutral
words, so that those of two apps can be compared. For `test_names.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from tests.data.searching import column
from tests.schema.samples import an_app, an_entity
from tests.server import bearer

Json = dict[str, Any]

ENTITIES = ("Thing", "Member")
THING_FIELDS = ("title", "owner", "team", "rank", "flag", "at", "other")
MEMBER_FIELDS = ("inTeam", "person")
ROLES = (*ENTITIES, *THING_FIELDS, *MEMBER_FIELDS)
"""What each part of the app calls its own way; relations keep their names."""

AGGREGATES = ("count", "sum", "min", "max", "avg", "count_distinct")


class Names:
    """The names of one part of the app: `names["rank"]` is what is there for `rank`."""

    def __init__(self, given: Mapping[str, str], number: int) -> None:
        self._given = dict(given)
        self.number = number
        self.neutral = {name: f"{role}.{number}" for role, name in given.items()}
        self.neutral |= {
            f"{made}_{name}": f"{made}_{role}.{number}"
            for role, name in given.items()
            for made in AGGREGATES
        }
        self.neutral |= {f"{given['at']}_day": f"at_day.{number}"}

    def __getitem__(self, role: str) -> str:
        return self._given[role]

    @classmethod
    def plain(cls, number: int) -> Names:
        return cls({role: f"{role}Number{number}" for role in ROLES}, number)


def manifest(parts: Sequence[Names]) -> Json:
    """The JSON of an app of these parts."""
    entities, policies = [], []
    for n in parts:
        entities.append(
            an_entity(
                n["Thing"],
                column(n["title"]),
                column(n["owner"]),
                column(n["team"]),
                column(n["rank"], "int"),
                column(n["flag"], "bool"),
                column(n["at"], "datetime"),
                column(n["other"], f"id({n['Thing']})"),
                search={
                    "text": [n["title"], n["owner"]],
                    "facets": [n["team"], n["flag"], n["rank"]],
                    "sortable": [n["rank"], n["at"]],
                },
                relations=[
                    {"name": "up", "target": n["Thing"], "field": n["other"], "many": False},
                    {"name": "members", "target": n["Member"], "field": n["team"], "many": True},
                    {"name": "downs", "target": n["Thing"], "field": n["other"], "many": True},
                ],
                indexes=[{"name": "by", "fields": [n["rank"]], "unique": False}],
                crdt=False,
            )
        )
        # `members` goes by a key that both sides have.
        entities.append(
            an_entity(
                n["Member"],
                column(n["team"]),
                column(n["inTeam"]),
                column(n["person"]),
                crdt=False,
            )
        )
        condition = f"{n['inTeam']} == data.{n['team']} && {n['person']} == auth.userId"
        rule = f"data.{n['owner']} == auth.userId || exists({n['Member']}, {condition})"
        name = f"things{n.number}"
        things = {"name": name, "entity": n["Thing"], "allowRead": rule, "allowWrite": "true"}
        members = {"name": f"members{n.number}", "entity": n["Member"], "allow": "true"}
        policies += [things, members]
    return an_app(*entities, policies=policies)


def row_id(n: Names, number: int) -> str:
    """The id of a row; those of members are numbered from 100."""
    return f"{n.number:08x}{number:032x}"


def rows(n: Names) -> Iterator[tuple[str, Json]]:
    """The entity and the values of every row: Ann is in team a and owns one of b, Bob is in c."""
    for number, (team, owner) in enumerate(
        [("a", "bob"), ("a", "ann"), ("a", "bob"), ("b", "ann"), ("b", "bob"), ("c", "bob")]
    ):
        yield (
            n["Thing"],
            {
                "id": row_id(n, number),
                n["title"]: f"thing {'odd' if number % 2 else 'even'} {team}",
                n["owner"]: owner,
                n["team"]: team,
                n["rank"]: number % 3,
                n["flag"]: number % 2 == 0,
                n["at"]: f"2026-01-0{number + 1}T00:00:00Z",
                n["other"]: row_id(n, number // 2),
            },
        )
    for number, (team, person) in enumerate((("a", "ann"), ("c", "bob"), ("b", "nobody")), 100):
        yield (
            n["Member"],
            {
                "id": row_id(n, number),
                n["team"]: team,
                n["inTeam"]: team,
                n["person"]: person,
            },
        )


async def fill(client: httpx.AsyncClient, admin: str, parts: Sequence[Names]) -> None:
    """Write all rows, some of them twice."""
    for n in parts:
        for entity, values in rows(n):
            answer = await client.post(
                f"/api/entities/{entity}", json=values, headers=bearer(admin)
            )
            assert answer.status_code == 201, (entity, answer.text)
        thing, patch = f"/api/entities/{n['Thing']}", {n["title"]: "thing changed", n["rank"]: 7}
        for method, row, body in (("PATCH", 1, patch), ("DELETE", 5, None)):
            answer = await client.request(
                method, f"{thing}/{row_id(n, row)}", json=body, headers=bearer(admin)
            )
            assert answer.status_code in (200, 204), answer.text


def questions(parts: Sequence[Names]) -> Iterator[tuple[str, str, Any]]:
    """`(method, path, body)` to every read door of every part, and one graph of all of them."""
    graph: Json = {}
    for n in parts:
        thing, member = n["Thing"], n["Member"]
        rank, flag, at = n["rank"], n["flag"], n["at"]
        yield "GET", f"/api/entities/{thing}", None
        yield "GET", f"/api/entities/{thing}?limit=2&offset=1", None
        yield "GET", f"/api/entities/{thing}/cursor?limit=2&after={row_id(n, 0)}", None
        yield "GET", f"/api/entities/{thing}/{row_id(n, 0)}", None
        yield "GET", f"/api/entities/{thing}/{row_id(n, 4)}", None
        yield "GET", f"/api/lookup/{thing}/{rank}/1", None
        wide = {
            "$or": [{rank: {"$in": [0, 1, 7]}}, {n["title"]: {"$like": "odd"}}],
            n["title"]: {"$startsWith": "thing", "$contains": "g"},
        }
        yield "POST", f"/api/query/{thing}", {**wide, "$order": {flag: "desc", rank: "asc"}}
        after = {flag: True, rank: 0, "id": ""}
        yield (
            "POST",
            f"/api/query/{thing}",
            {"$order": {flag: "desc", rank: "asc"}, "$after": after},
        )
        yield "POST", f"/api/query/{thing}", {"$search": "thing even"}
        yield (
            "POST",
            f"/api/aggregate/{thing}",
            {
                "count": "*",
                "sum": [rank],
                "min": [at],
                "countDistinct": [n["team"]],
                "groupBy": [flag, {"field": at, "bucket": "day"}],
                "having": {"count": {"$gte": 1}, f"sum_{rank}": {"$in": [0, 1, 2, 7]}},
                "order": {f"sum_{rank}": "desc"},
            },
        )
        search = f"/api/search/{thing}"
        yield "POST", search, {}
        yield "POST", search, {"query": "thing", "highlight": True}
        yield "POST", search, {"query": "chnaged"}
        yield "POST", search, {"query": f"{n['title']}:odd", "sort": [rank, "desc"]}
        exclude = {"filters": {flag: True, n["team"]: "a"}, "facetMode": "exclude"}
        yield "POST", search, {**exclude, "sort": [at, "asc"]}
        yield "POST", search, {"query": "thing", **exclude}
        # What is asked of the members here must not count for the rule of the things.
        members = {"where": {n["person"]: "nobody"}}
        cut = {"order": {rank: "desc"}, "limit": 2}
        include = {"members": {}, "up": {}, "downs": cut}
        yield "POST", "/api/query", {member: members, thing: {"include": include, **cut}}
        if len(graph) < 16:
            graph |= {member: members, thing: {}}
    yield "POST", "/api/query", graph
    yield "GET", "/api/sync/pull?since=0", None
    yield "GET", "/api/export", None


def neutral(value: Any, words: Mapping[str, str]) -> Any:
    """An answer with the app's names as neutral ones; figures of time are left out."""
    if isinstance(value, dict):
        left_out = ("took_ms", "tookMs", "exported_at", "at", "timestamp")
        return {
            words.get(key, key): words.get(each, each) if key == "entity" else neutral(each, words)
            for key, each in value.items()
            if key not in left_out
        }
    return [neutral(each, words) for each in value] if isinstance(value, list) else value
