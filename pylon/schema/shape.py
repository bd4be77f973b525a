"""The keys of a manifest as tables: read by `parse` and turned into a JSON Schema by `json_schema`.

One row per key says its kind, whether it must be there and whether it may be null (spec 05
section 2). Adding a key to the manifest means a field in `model` and a row here; a key that has no
row is refused by `parse`, but for those of `DESCRIPTIVE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from pylon.schema.model import (
    CRDT_CONTAINERS,
    DECIMAL_SCALE,
    FORMATS,
    ON_DELETE,
    AuthSpec,
    CallableSpec,
    EntitySpec,
    FieldDefault,
    FieldSpec,
    IndexSpec,
    Manifest,
    NowDefault,
    PolicySpec,
    RelationSpec,
    RouteSpec,
    SearchSpec,
    kind_of_type,
)

Scalar: TypeAlias = Literal["text", "flag", "version", "default", "count", "bound"]


class ListOf(Struct, frozen=True, kw_only=True):
    """A JSON array of scalars or objects."""

    item: Scalar | Shape


class OneOf(Struct, frozen=True, kw_only=True):
    """A string out of a list."""

    choices: tuple[str, ...]


class Shape(Struct, frozen=True, kw_only=True):
    """A JSON object. `build` makes the value of `model` from the keys that were there."""

    title: str
    build: Callable[..., Any]
    keys: Mapping[str, Key]
    passed_over: frozenset[str] = frozenset()
    """Keys that are known and say nothing to the server."""


class Key(Struct, frozen=True, kw_only=True):
    """One key of an object. `about` is its description in the JSON Schema."""

    kind: Scalar | ListOf | OneOf | Shape
    required: bool = False
    nullable: bool = False
    about: str = ""


DESCRIPTIVE: Final = frozenset(
    {"$comment", "comment", "deprecated", "description", "label", "title"}
)
"""Keys that words for people may stand under, in any object. They are told of and passed over, as
is what begins with `x-`; what any other unknown key asks for could not be kept: it is refused."""


def is_descriptive(key: str) -> bool:
    """Whether a key that has no row here can be passed over without a promise being broken."""
    return key in DESCRIPTIVE or key.startswith("x-")


def _build_field(
    *,
    serverOnly: bool = False,  # noqa: N803 - names as on the wire
    serverSet: bool = False,  # noqa: N803
    private: bool = False,
    readonly: bool = False,
    writeOnce: bool = False,  # noqa: N803
    type: str,  # noqa: A002
    format: str | None = None,  # noqa: A002
    enum: tuple[str | int, ...] = (),
    stamp: Literal["created", "updated"] | None = None,
    default: FieldDefault | None = None,
    **keys: Any,
) -> FieldSpec:
    """`serverOnly` and `readonly` are the words of newer SDKs for what we call `private` and
    `writeOnce` (spec 09 section 1). A type that clients of the reference do not know stands in
    `format` beside the type "string"; it may stand in `type` as well."""
    if type == "string" and format not in (None, *FORMATS) and kind_of_type(format) is not None:
        type, format = format, None  # noqa: A001
    return FieldSpec(
        type=f"decimal({DECIMAL_SCALE})" if type == "decimal" else type,
        format=format,
        choices=enum,
        stamp=stamp,
        default=NowDefault() if stamp is not None and default is None else default,
        private=private or serverOnly,
        readonly=serverSet or stamp is not None,
        writeOnce=writeOnce or readonly,
        **keys,
    )


def _build_entity(*, search: SearchSpec | None = None, **keys: Any) -> EntitySpec:
    """An entity whose search lists are all empty is not searchable."""
    return EntitySpec(search=search or None, **keys)


def _build_policy(**keys: Any) -> PolicySpec:
    """An empty expression is an unset one."""
    unset = [key for key, value in keys.items() if key.startswith("allow") and not value]
    for key in unset:
        del keys[key]
    return PolicySpec(**keys)


_NAME: Final = Key(kind="text", required=True)
_TEXT_OR_NULL: Final = Key(kind="text", nullable=True)
_NAMES: Final = ListOf(item="text")

FIELD: Final = Shape(
    title="field",
    build=_build_field,
    keys={
        "name": _NAME,
        "type": Key(
            kind="text",
            required=True,
            about="string|int|float|bool|datetime|richtext|id(<Entity>), or "
            "date|decimal(<digits>)|json|list(<type>)",
        ),
        "optional": Key(kind="flag", required=True, about="may be null or absent"),
        "unique": Key(kind="flag", required=True, about="no two rows share a value"),
        "crdt": Key(
            kind=OneOf(choices=CRDT_CONTAINERS),
            nullable=True,
            about="how concurrent writes to the field merge",
        ),
        "default": Key(
            kind="default",
            nullable=True,
            about="the value of an insert that leaves the field out: a literal, the caller's "
            "user or tenant id, or the time",
        ),
        "private": Key(kind="flag", about="never sent to anyone but administrators"),
        "serverOnly": Key(kind="flag", about="the same as `private`, as newer SDKs say it"),
        "serverSet": Key(kind="flag", about="set by its default and the server, never by clients"),
        "writeOnce": Key(kind="flag", about="given at insert and never changed by clients"),
        "readonly": Key(kind="flag", about="the same as `writeOnce`, as newer SDKs say it"),
        "caseInsensitive": Key(
            kind="flag",
            about="A to Z in either case are one value (default true for the e-mail of users)",
        ),
        "format": Key(
            kind="text",
            nullable=True,
            about="email|url, or of a string a type that the first clients do not know: "
            "date|decimal(<digits>)|json|list(<type>)",
        ),
        "enum": Key(kind=ListOf(item="bound"), about="the values that the field may have"),
        "min": Key(kind="bound", nullable=True, about="the least value"),
        "max": Key(kind="bound", nullable=True, about="the largest value"),
        "minLength": Key(kind="count", nullable=True, about="characters, or items of a list"),
        "maxLength": Key(kind="count", nullable=True, about="characters, or items of a list"),
        "pattern": Key(kind="text", nullable=True, about="an expression that a text matches whole"),
        "stamp": Key(
            kind=OneOf(choices=("created", "updated")),
            nullable=True,
            about="the server sets the time of the insert, or of the last write",
        ),
    },
)

INDEX: Final = Shape(
    title="index",
    build=IndexSpec,
    keys={
        "name": _NAME,
        "fields": Key(kind=_NAMES, required=True),
        "unique": Key(kind="flag", required=True),
        "where": Key(
            kind="text",
            nullable=True,
            about="only rows for which this holds: comparisons of fields with literals",
        ),
        "caseInsensitive": Key(
            kind="flag", about="the same of its texts, in this index: A to Z in either case"
        ),
    },
)

RELATION: Final = Shape(
    title="relation",
    build=RelationSpec,
    keys={
        "name": _NAME,
        "target": Key(kind="text", required=True, about="the other entity"),
        "field": Key(kind="text", required=True, about="the foreign key"),
        "many": Key(kind="flag"),
        "check": Key(kind="flag", about="writes may name rows only that are there"),
        "onDelete": Key(
            kind=OneOf(choices=ON_DELETE),
            nullable=True,
            about="what becomes of rows when the row that they name is deleted",
        ),
    },
)

SEARCH: Final = Shape(
    title="search",
    build=SearchSpec,
    keys={
        "text": Key(kind=_NAMES),
        "facets": Key(kind=_NAMES),
        "sortable": Key(kind=_NAMES),
    },
)

ENTITY: Final = Shape(
    title="entity",
    build=_build_entity,
    keys={
        "name": Key(kind="text", required=True, about="table name, used as it stands"),
        "fields": Key(kind=ListOf(item=FIELD), required=True, about="without the implicit `id`"),
        "indexes": Key(kind=ListOf(item=INDEX), required=True),
        "relations": Key(kind=ListOf(item=RELATION)),
        "search": Key(kind=SEARCH, nullable=True),
        "crdt": Key(kind="flag", about="false: plain rows, the last write wins (default true)"),
    },
)

ROUTE: Final = Shape(
    title="route",
    build=RouteSpec,
    keys={
        "path": _NAME,
        "mode": Key(kind="text", required=True, about="static|server|live"),
        "query": _TEXT_OR_NULL,
        "auth": Key(kind="text", nullable=True, about="public|user"),
    },
)

CALLABLE: Final = Shape(
    title="callable",
    build=CallableSpec,
    keys={"name": _NAME, "input": Key(kind=ListOf(item=FIELD))},
)

POLICY: Final = Shape(
    title="policy",
    build=_build_policy,
    keys={
        "name": _NAME,
        "entity": _TEXT_OR_NULL,
        "action": _TEXT_OR_NULL,
        "allow": Key(kind="text", about="the rule of every operation without its own"),
        "allowRead": _TEXT_OR_NULL,
        "allowInsert": _TEXT_OR_NULL,
        "allowUpdate": _TEXT_OR_NULL,
        "allowDelete": _TEXT_OR_NULL,
        "allowWrite": _TEXT_OR_NULL,
    },
)

AUTH: Final = Shape(
    title="auth",
    build=AuthSpec,
    keys={
        "user": Key(kind="text", nullable=True, about="the entity whose rows are people (User)"),
        "session": Key(kind="text", nullable=True, about="accepted; sessions have their own table"),
        "org": Key(kind="text", nullable=True, about="accepted; tenants are told by sessions"),
        "trusted_origins": Key(kind=_NAMES, about="origins whose pages may change data"),
    },
)

MANIFEST: Final = Shape(
    title="manifest",
    build=Manifest,
    passed_over=frozenset({"$schema"}),
    keys={
        "manifest_version": Key(kind="version", required=True, about="must be 1"),
        "name": _NAME,
        "version": Key(kind="text", required=True, about="free text"),
        "entities": Key(kind=ListOf(item=ENTITY), required=True),
        "routes": Key(kind=ListOf(item=ROUTE), required=True),
        "queries": Key(kind=ListOf(item=CALLABLE)),
        "actions": Key(kind=ListOf(item=CALLABLE)),
        "policies": Key(kind=ListOf(item=POLICY)),
        "auth": Key(kind=AUTH, nullable=True),
    },
)
