"""Graph queries: rows with their related rows, as deep as asked (spec 02 section 5.3).

The whole question is one statement, so all of it is seen at one moment: each level is a common
table, a related level takes the keys of the one above it, and the read policy stands in each of
them. Called by `api/queries` and by functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from pylon import limits
from pylon.changes.model import RowData
from pylon.data.conditions import column_sql
from pylon.data.door import Opened, ReadDoor, picked
from pylon.data.errors import invalid
from pylon.data.filters import (
    Filter,
    parse,
    parse_after,
    parse_count,
    parse_fields,
    parse_order,
    refuse_unknown_keys,
    require_object,
)
from pylon.data.query import (
    add_condition,
    add_policy,
    complete_order,
    order_clause,
    row_limit,
    select,
    where_clause,
)
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.letters import small, small_sql
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import RelationSpec
from pylon.store.base import Row, Value, answer_too_large
from pylon.store.naming import own, quote

OPTIONS = ("where", "include", "order", "limit", "offset", "after", "fields")


class Link(msgspec.Struct, frozen=True):
    """How a level hangs on the one above: `source` of a row there equals `target` of a row here;
    `is_folded`: with A to Z in either case."""

    name: str
    source: str
    target: str
    many: bool
    is_folded: bool


class Level(Struct, kw_only=True):
    """One entity of a graph query; `parent` and `link` are None for the rows asked for."""

    number: int
    opened: Opened
    query: Filter
    parent: Level | None
    link: Link | None
    children: list[Level] = field(default_factory=list)


class Graphs:
    """Graph queries."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def find(self, identity: Identity, body: object) -> dict[str, list[RowData]]:
        """The rows of each entity asked for, with what they include.

        A to-one relation is a row, or absent where there is none that the caller may see; a
        to-many relation is a list. 403 where an entity asked for can hold nothing for the caller.
        """
        fields = require_object(body, "A graph query")
        planner = _Planner(self._door, identity)
        roots = {name: planner.root(name, options) for name, options in fields.items()}
        if not roots:
            return {}
        sql, params = _statement(planner.levels)
        found = await self._door.fetch(sql, params)
        return _assemble(planner.levels, found)


# --- From the question to levels -------------------------------------------------------------


class _Planner:
    def __init__(self, door: ReadDoor, identity: Identity) -> None:
        self._door = door
        self._identity = identity
        self.levels: list[Level] = []

    def root(self, entity: str, options: object) -> Level:
        opened = self._door.open_readable(self._identity, entity)
        return self._level(opened, options, None, None, depth=1)

    def _level(
        self, opened: Opened, body: object, parent: Level | None, link: Link | None, *, depth: int
    ) -> Level:
        if len(self.levels) >= limits.GRAPH_LEVELS_MAX:
            most = limits.GRAPH_LEVELS_MAX
            raise invalid(f"A graph query names at most {most} entities and relations.")
        place = opened.table.name if link is None else f"The relation {link.name}"
        # `true` and `null` are how clients of the reference say "no options".
        options = {} if body is True or body is None else require_object(body, place)
        refuse_unknown_keys(options, OPTIONS, place)
        level = Level(
            number=len(self.levels),
            opened=opened,
            query=_filter(options, opened, is_root=link is None),
            parent=parent,
            link=link,
        )
        if link is not None and not link.many and (level.query.order or _is_cut(level.query)):
            raise invalid(f"{place} leads to one row; an order or a limit means nothing there.")
        self.levels.append(level)
        asked = options.get("include")
        include = {} if asked is None else require_object(asked, "include")
        if include and depth >= limits.GRAPH_DEPTH_MAX:
            raise invalid(f"A graph query is at most {limits.GRAPH_DEPTH_MAX} levels deep.")
        for name, inner in include.items():
            level.children.append(self._related(level, name, inner, depth=depth + 1))
        return level

    def _related(self, level: Level, name: str, options: object, *, depth: int) -> Level:
        source = level.opened
        relations = source.table.spec.relations_by_name
        relation = relations.get(name)
        if relation is not None:
            target = self._door.open(self._identity, relation.target)
            link = _link(source, target, relation)
            if link is not None:
                return self._level(target, options, level, link, depth=depth)
        raise PylonError(
            400,
            "RELATION_NOT_FOUND",
            f'{source.table.name} has no relation "{name[:100]}".',
            did_you_mean(name, self._visible(source)),
        )

    def _visible(self, source: Opened) -> list[str]:
        """The relations that the caller may follow."""
        return [
            each.name
            for each in source.table.spec.relations
            if _link(source, self._door.open(self._identity, each.target), each) is not None
        ]


def _filter(options: Mapping[str, Any], opened: Opened, *, is_root: bool) -> Filter:
    """The options of one level; `where` may say the order and limits too, as a query does."""
    where = options.get("where")
    query = parse({} if where is None else where, opened.columns)
    order, limit, offset, after = query.order, query.limit, query.offset, query.after
    if "order" in options:
        if order:
            raise invalid("The order is given twice, as `order` and as `$order`.")
        order = parse_order(options["order"], opened.columns)
    if "limit" in options:
        outer = parse_count(options["limit"], "limit")
        limit = outer if limit is None else min(limit, outer)
    if "offset" in options:
        offset += parse_count(options["offset"], "offset")
    if "after" in options:
        if query.search is not None and not order:
            raise invalid("after goes on in an order.", "Give order, or page by offset.")
        after = parse_after(options["after"], opened.columns)
    fields = query.fields
    if "fields" in options:
        if fields:
            raise invalid("The fields are given twice, as `fields` and as `$fields`.")
        fields = parse_fields(options["fields"], opened.columns)
    if query.count is not None:
        raise invalid("A graph has no place for a $count.", "POST /api/query/<Entity> has one.")
    if after is not None and not is_root:
        raise invalid("Pages go through the rows asked for, not through a relation.")
    return msgspec.structs.replace(
        query, order=order, limit=limit, offset=offset, after=after, fields=fields
    )


def _is_cut(query: Filter) -> bool:
    return query.limit is not None or query.offset > 0


def _link(source: Opened, target: Opened, relation: RelationSpec) -> Link | None:
    """The columns that a relation joins, or None where the caller may not see one of them.

    A to-one relation leads from the source's foreign key to an id. A to-many relation goes by the
    target's foreign key to the source where there is one, else by the same column on both sides.
    """
    key = relation.field
    here, there = source.table.fields.get(key), target.table.fields.get(key)
    if not relation.many or there is None:
        ends = (key, "id")
    elif there.target == source.table.name or here is None:
        ends = ("id", key)
    else:
        ends = (key, key)
    if ends[0] not in source.columns.kinds or ends[1] not in target.columns.kinds:
        return None
    is_folded = ends[0] in source.columns.folded or ends[1] in target.columns.folded
    return Link(relation.name, *ends, relation.many, is_folded)


# --- From levels to one statement ------------------------------------------------------------


def _statement(levels: list[Level]) -> tuple[str, list[Value]]:
    """`(level, key of the parent's row, columns...)` of every level, each in its order."""
    width = max(len(level.opened.table.fields) for level in levels) + 1
    params: list[Value] = []
    tables = [
        f"{_table(level)}({', '.join(_names(level))}) AS MATERIALIZED ({_select(level, params)})"
        for level in levels
    ]
    branches = [
        f"SELECT {', '.join([str(level.number), *_mixed(level, width)])} FROM {_table(level)}"
        for level in levels
    ]
    return f"WITH {', '.join(tables)} {' UNION ALL '.join(branches)}", params


_KEY: Final = own("key")
_PLACE: Final = own("place")


def _table(level: Level) -> str:
    """The common table of a level."""
    return own(f"level{level.number}")


def _column(number: int) -> str:
    return own(f"c{number}")


def _names(level: Level) -> list[str]:
    return [_KEY, *map(_column, range(len(level.opened.table.fields) + 1))]


def _mixed(level: Level, width: int) -> list[str]:
    """The columns of a level in the width of all levels, whose types differ."""
    names, fields, link = _names(level), level.opened.table.fields, level.link
    key = fields.get(link.target) if link is not None else None
    kinds = [
        "string" if key is None else key.kind,
        "string",
        *(field.kind for field in fields.values()),
    ]
    mixed = level.opened.dialect.mixed
    padding = [mixed("NULL", "string")] * (width + 1 - len(names))
    return [*map(mixed, names, kinds), *padding]


def _select(level: Level, params: list[Value]) -> str:
    opened, parent, link = level.opened, level.parent, level.link
    if parent is None or link is None:
        projection = f"NULL, {opened.table.columns}"
        sql, values = select(opened, level.query, projection, rows_max=limits.GRAPH_ROWS_MAX)
        params += values
        return sql
    key = column_sql(link.target, link.is_folded)
    above = _column(_position(parent.opened, link.source))
    wanted = small_sql(above) if link.is_folded else above
    conditions = [f"{key} IN (SELECT {wanted} FROM {_table(parent)} WHERE {above} IS NOT NULL)"]
    add_policy(opened.where, conditions, params)
    add_condition(level.query, opened, conditions, params)
    order = order_clause(complete_order(level.query.order))
    source = f"{opened.table.source}{where_clause(conditions)}"
    if not _is_cut(level.query):
        params.append(limits.GRAPH_ROWS_MAX + 1)
        return f"SELECT {key}, {opened.table.columns} FROM {source} ORDER BY {order} LIMIT ?"
    first = level.query.offset
    last = min(first + row_limit(level.query.limit, limits.GRAPH_ROWS_MAX), 2**63 - 1)
    params += (first, last, limits.GRAPH_ROWS_MAX + 1)
    inner = (
        f"SELECT {key} AS {_KEY}, {', '.join(_aliased(opened))},"
        f" row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS {_PLACE} FROM {source}"
    )
    columns = ", ".join(_names(level))
    cut = f"WHERE {_PLACE} > ? AND {_PLACE} <= ? ORDER BY {_PLACE} LIMIT ?"
    return f"SELECT {columns} FROM ({inner}) q {cut}"


def _aliased(opened: Opened) -> Iterator[str]:
    for number, name in enumerate(("id", *opened.table.fields)):
        yield f"t.{quote(name)} AS {_column(number)}"


def _position(opened: Opened, column: str) -> int:
    return 0 if column == "id" else 1 + list(opened.table.fields).index(column)


# --- From the answer to rows with rows -------------------------------------------------------


def _assemble(levels: list[Level], found: list[Row]) -> dict[str, list[RowData]]:
    """Hang each level on the one above, the deepest first, minding how often a row appears, and its
    texts with it: one that is read once may be answered thousands of times."""
    if len(found) > limits.GRAPH_ROWS_MAX:
        raise _too_large()
    by_level: list[list[Row]] = [[] for _ in levels]
    for row in found:
        by_level[row[0]].append(row)
    # Rows of a level by the key of their parent, and how many rows each key brings in all.
    groups: list[dict[Value, list[RowData]]] = [{} for _ in levels]
    sizes: list[dict[Value, int]] = [{} for _ in levels]
    weights: list[dict[Value, int]] = [{} for _ in levels]  # The same in characters of texts.
    for level in reversed(levels):
        group, size, weight = groups[level.number], sizes[level.number], weights[level.number]
        decode, fields = level.opened.decode, level.query.fields
        links = [
            (child.link, 2 + _position(level.opened, child.link.source), child.number)
            for child in level.children
            if child.link is not None
        ]
        for row in by_level[level.number]:
            decoded = picked(decode(row[2:]), fields)
            count, characters = 1, sum([len(v) for v in decoded.values() if type(v) is str])
            for link, position, number in links:
                key = small(row[position]) if link.is_folded else row[position]
                related = groups[number].get(key)
                count += sizes[number].get(key, 0)
                characters += weights[number].get(key, 0)
                if link.many:
                    decoded[link.name] = related or []
                elif related:
                    decoded[link.name] = related[0]
            group.setdefault(row[1], []).append(decoded)
            size[row[1]] = size.get(row[1], 0) + count
            weight[row[1]] = weight.get(row[1], 0) + characters
    roots = [level for level in levels if level.parent is None]
    if sum(sizes[level.number].get(None, 0) for level in roots) > limits.GRAPH_ROWS_MAX:
        raise _too_large()
    if sum(weights[level.number].get(None, 0) for level in roots) > limits.ANSWER_BYTES_MAX:
        raise answer_too_large()
    return {level.opened.table.name: groups[level.number].get(None, []) for level in roots}


def _too_large() -> PylonError:
    most = limits.GRAPH_ROWS_MAX
    return invalid(f"The answer has more than {most} rows.", "Set limits on its levels.")
