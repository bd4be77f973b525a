"""The manifest as immutable values: what an app consists of, and its JSON form (spec 05 section 2).

Everything is a tuple or a scalar, so a manifest can be hashed, shared between threads and kept as
a cache key. Not here: reading JSON (`parse`), judging it (`validate`), the Python form (`declare`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import msgspec

from pylon.codec import decode_trusted
from pylon.limits import DECIMAL_DIGITS_MAX

MANIFEST_VERSION: Final = 1

OnDelete: TypeAlias = Literal["cascade", "set_null", "restrict"]

ON_DELETE: Final[tuple[OnDelete, ...]] = ("cascade", "set_null", "restrict")
"""What may become of rows when the row that they name is deleted."""

FieldKind: TypeAlias = Literal[
    "string",
    "int",
    "float",
    "bool",
    "datetime",
    "richtext",
    "id",
    "date",
    "decimal",
    "json",
    "list",
]

SCALAR_KINDS: Final[dict[str, FieldKind]] = {
    "string": "string",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "datetime": "datetime",
    "richtext": "richtext",
    "date": "date",
    "decimal": "decimal",
    "json": "json",
}
"""The field types that stand for themselves; the others are `id(<Entity>)`, `decimal(<digits>)`
and `list(<type>)`."""

REFERENCE_TYPES: Final = frozenset({"string", "int", "float", "bool", "datetime", "richtext"})
"""Types that clients of the reference know, beside `id(...)`. What has another type is a `string`
to them, and the type stands in `format`."""

LIST_ITEMS: Final = ("string", "int", "float", "bool")
"""Types that the items of a list may have."""

DECIMAL_SCALE: Final = 2
"""Digits behind the point of a decimal that does not say how many."""

FORMATS: Final = ("email", "url")
"""What the text of a field may have to be."""

_DECIMAL: Final = re.compile(r"decimal(?:\((\d{1,2})\))?")
_LIST: Final = re.compile(r"list\((\w+)\)")


def kind_of_type(type_: str) -> FieldKind | None:
    """The kind of a type as it is written; None for one that nobody knows."""
    if type_ in SCALAR_KINDS:
        return SCALAR_KINDS[type_]
    if type_.startswith("id(") and type_.endswith(")") and len(type_) > len("id()"):
        return "id"
    decimal = _DECIMAL.fullmatch(type_)
    if decimal is not None:
        return "decimal" if int(decimal[1]) <= DECIMAL_DIGITS_MAX else None
    listed = _LIST.fullmatch(type_)
    return "list" if listed is not None and listed[1] in LIST_ITEMS else None


CRDT_CONTAINERS: Final = ("lww", "text", "counter", "list", "movable-list", "tree")
"""What a field's `crdt` may say."""

USER: Final = "User"
"""The entity whose rows are the people, where the manifest names no other."""

ALWAYS_PRIVATE_FIELDS: Final = frozenset({"passwordHash"})
"""Fields that never leave the server, whether or not the manifest says `private`."""

POLICY_SLOTS: Final = (
    "allow",
    "allowRead",
    "allowInsert",
    "allowUpdate",
    "allowDelete",
    "allowWrite",
)
"""The expressions of a policy, in wire order."""


FIELD_KEYS: Final[Mapping[str, str]] = {
    "private": "private",
    "readonly": "serverSet",
    "writeOnce": "writeOnce",
    "caseInsensitive": "caseInsensitive",
    "format": "format",
    "choices": "enum",
    "min": "min",
    "max": "max",
    "minLength": "minLength",
    "maxLength": "maxLength",
    "pattern": "pattern",
    "stamp": "stamp",
}
"""The options of a field that clients of the reference do not know: the attribute of `FieldSpec`
and its key in the manifest, where it is written if it is not the attribute's default.

To add one: an attribute of `FieldSpec` with a default, a row here, a row in `shape.FIELD`, a word
in `fields.FieldWords` (`case_insensitive` there is `caseInsensitive` here), the judgement of what
it fits in `validate_parts`, `python -m pylon.schema.json_schema`, and a line in docs/schema.md.
What a database must remember of it is `RecordedField`'s (`store/evolution/model.py`).
"""


class AuthDefault(msgspec.Struct, frozen=True):
    """A default filled from the caller at insert; wire `{"$auth": "userId"}`."""

    attribute: Literal["userId", "tenantId"]


class NowDefault(msgspec.Struct, frozen=True):
    """A default filled with the ISO time of the insert; wire `{"$now": true}`."""


class JsonDefault(msgspec.Struct, frozen=True):
    """A default that is a list or an object, as its JSON text."""

    text: str


FieldDefault: TypeAlias = str | int | float | bool | AuthDefault | NowDefault | JsonDefault

Bound: TypeAlias = int | float | str
"""The least or largest value of a field: a number, or the text of a decimal or a day."""


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A field of an entity, or an input of a query or action.

    `default` (None = none), `private`, `readonly`, `writeOnce` and `caseInsensitive` are ours;
    clients of the reference ignore them. Who says nothing of `caseInsensitive` gets it for the
    e-mail of the people only. `readonly` (the server sets it, clients never) is `serverSet` on the
    wire, where newer SDKs write `readonly` for what is `writeOnce` here.
    """

    name: str
    type: str
    optional: bool = False
    unique: bool = False
    crdt: str | None = None
    default: FieldDefault | None = None
    private: bool = False
    readonly: bool = False
    writeOnce: bool = False  # noqa: N815 - names as on the wire
    caseInsensitive: bool | None = None  # noqa: N815
    format: str | None = None
    choices: tuple[str | int, ...] = ()
    min: Bound | None = None
    max: Bound | None = None
    minLength: int | None = None  # noqa: N815
    maxLength: int | None = None  # noqa: N815
    pattern: str | None = None
    stamp: Literal["created", "updated"] | None = None
    folds: bool = False
    """Whether A to Z in either case are one value to comparisons, orders and uniqueness: what
    `caseInsensitive` says, or what holds where it says nothing."""

    def __post_init__(self) -> None:
        if self.caseInsensitive is not None:
            msgspec.structs.force_setattr(self, "folds", self.caseInsensitive)

    @cached_property
    def target(self) -> str | None:
        """The entity that an `id(X)` field names, else None."""
        if self.type.startswith("id(") and self.type.endswith(")"):
            return self.type[3:-1] or None
        return None

    @cached_property
    def kind(self) -> FieldKind:
        """The type without what it is of; a type that nobody knows is stored as a string."""
        return kind_of_type(self.type) or "string"

    @cached_property
    def scale(self) -> int:
        """Digits behind the point of a decimal."""
        found = _DECIMAL.fullmatch(self.type)
        return DECIMAL_SCALE if found is None or found[1] is None else int(found[1])

    @cached_property
    def item(self) -> FieldSpec:
        """The items of a list, as a field that holds one of them."""
        found = _LIST.fullmatch(self.type)
        return FieldSpec(name=self.name, type="string" if found is None else found[1])

    @cached_property
    def is_private(self) -> bool:
        """Whether the value is kept from everybody but administrators and functions."""
        return self.private or self.name in ALWAYS_PRIVATE_FIELDS

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; our keys and `crdt` only when they say something."""
        is_known = self.type in REFERENCE_TYPES or self.kind == "id"
        wire: dict[str, Any] = {
            "name": self.name,
            "type": self.type if is_known or kind_of_type(self.type) is None else "string",
            "optional": self.optional,
            "unique": self.unique,
        }
        if wire["type"] != self.type:
            wire["format"] = self.type
        if self.crdt is not None:
            wire["crdt"] = self.crdt
        if isinstance(self.default, AuthDefault):
            wire["default"] = {"$auth": self.default.attribute}
        elif isinstance(self.default, NowDefault):
            wire["default"] = {"$now": True}
        elif isinstance(self.default, JsonDefault):
            wire["default"] = decode_trusted(self.default.text)
        elif self.default is not None:
            wire["default"] = self.default
        for attribute, key in FIELD_KEYS.items():
            value = getattr(self, attribute)
            if value != _FIELD_DEFAULTS[attribute]:
                wire[key] = msgspec.to_builtins(value)
        return wire


_FIELD_DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: each.default for each in msgspec.structs.fields(FieldSpec)
}


class IndexSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An index over `fields`, in that order.

    `where` is the text of a condition (`index_condition`): only rows for which it holds are in the
    index, so with `unique` only they may not be alike. `caseInsensitive` says of its texts what it
    says of a field, in this index only.
    """

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    where: str | None = None
    caseInsensitive: bool = False  # noqa: N815 - names as on the wire

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; every key always, but for those that are ours."""
        wire: dict[str, Any] = {
            "name": self.name,
            "fields": list(self.fields),
            "unique": self.unique,
        }
        if self.where is not None:
            wire["where"] = self.where
        if self.caseInsensitive:
            wire["caseInsensitive"] = True
        return wire


class RelationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A named way from an entity to `target` through the foreign key `field`.

    `check` and `onDelete` are ours, for a key that stands on the entity itself: writes may name
    rows only that are there, and what becomes of the row when the one that it names goes (None: it
    stays as it is).
    """

    name: str
    target: str
    field: str
    many: bool = False
    check: bool = False
    onDelete: OnDelete | None = None  # noqa: N815 - names as on the wire

    @property
    def is_kept(self) -> bool:
        """Whether the server sees to it that the key names a row."""
        return self.check or self.onDelete is not None

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; our keys only when they say something."""
        wire: dict[str, Any] = {
            "name": self.name,
            "target": self.target,
            "field": self.field,
            "many": self.many,
        }
        if self.check:
            wire["check"] = True
        if self.onDelete is not None:
            wire["onDelete"] = self.onDelete
        return wire


class SearchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which fields are searched as text, counted as facets, and sorted by."""

    text: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    sortable: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.facets or self.sortable)

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; all three lists always."""
        return {
            "text": list(self.text),
            "facets": list(self.facets),
            "sortable": list(self.sortable),
        }


class EntitySpec(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An entity: a table whose rows are synced. `id` is implicit and not among `fields`.

    `search` is None when the entity is not searchable (also when all three lists were empty).
    """

    name: str
    fields: tuple[FieldSpec, ...] = ()
    indexes: tuple[IndexSpec, ...] = ()
    relations: tuple[RelationSpec, ...] = ()
    search: SearchSpec | None = None
    crdt: bool = True

    @cached_property
    def fields_by_name(self) -> dict[str, FieldSpec]:
        """Field name to field, in declaration order."""
        return {field.name: field for field in self.fields}

    @cached_property
    def relations_by_name(self) -> dict[str, RelationSpec]:
        """Relation name to relation."""
        return {relation.name: relation for relation in self.relations}

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; `crdt` always, `relations` and `search` only when not empty."""
        wire: dict[str, Any] = {
            "name": self.name,
            "fields": [field.to_wire() for field in self.fields],
            "indexes": [index.to_wire() for index in self.indexes],
        }
        if self.relations:
            wire["relations"] = [relation.to_wire() for relation in self.relations]
        if self.search:
            wire["search"] = self.search.to_wire()
        wire["crdt"] = self.crdt
        return wire


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the app; display and static build only, no effect at run time."""

    path: str
    mode: str
    query: str | None = None
    auth: str | None = None


class CallableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The contract of a declared query or action: its name and inputs."""

    name: str
    input: tuple[FieldSpec, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; `input` only when not empty."""
        wire: dict[str, Any] = {"name": self.name}
        if self.input:
            wire["input"] = [field.to_wire() for field in self.input]
        return wire


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in up to six slots for an entity, an action, or both. Unset slots are None or ""."""

    name: str
    entity: str | None = None
    action: str | None = None
    allow: str = ""
    allowRead: str | None = None  # noqa: N815 - names as on the wire
    allowInsert: str | None = None  # noqa: N815
    allowUpdate: str | None = None  # noqa: N815
    allowDelete: str | None = None  # noqa: N815
    allowWrite: str | None = None  # noqa: N815

    def expressions(self) -> dict[str, str]:
        """The slots that hold an expression, in wire order."""
        slots = {slot: getattr(self, slot) for slot in POLICY_SLOTS}
        return {slot: text for slot, text in slots.items() if text}

    def to_wire(self) -> dict[str, Any]:
        """The JSON object; keys without a value are left out."""
        wire: dict[str, Any] = {"name": self.name}
        if self.entity is not None:
            wire["entity"] = self.entity
        if self.action is not None:
            wire["action"] = self.action
        wire.update(self.expressions())
        return wire


class AuthSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What newer SDKs tell of auth: names of entities, and origins whose pages may change data
    (spec 09 section 1). Sessions and tenants are the server's own, whatever is named for them."""

    user: str | None = None
    session: str | None = None
    org: str | None = None
    trusted_origins: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A whole app, as every other part of the server reads it."""

    name: str
    version: str
    manifest_version: int = MANIFEST_VERSION
    entities: tuple[EntitySpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    queries: tuple[CallableSpec, ...] = ()
    actions: tuple[CallableSpec, ...] = ()
    policies: tuple[PolicySpec, ...] = ()
    auth: AuthSpec | None = None

    def __post_init__(self) -> None:
        """The e-mail of people is the same in either case, unless the app says otherwise."""
        if any(each.name == self.user_entity for each in self.entities):
            settled = (
                _with_email(each) if each.name == self.user_entity else each
                for each in self.entities
            )
            msgspec.structs.force_setattr(self, "entities", tuple(settled))

    @cached_property
    def user_entity(self) -> str:
        """The entity whose rows are the people; it need not be declared."""
        return (self.auth and self.auth.user) or USER

    @property
    def trusted_origins(self) -> tuple[str, ...]:
        """The origins that the app itself trusts, beside those of the settings."""
        return () if self.auth is None else self.auth.trusted_origins

    @cached_property
    def entities_by_name(self) -> dict[str, EntitySpec]:
        """Entity name to entity, in declaration order."""
        return {entity.name: entity for entity in self.entities}

    def to_wire(self, include_policies: bool = True) -> dict[str, Any]:
        """The JSON object as `GET /api/manifest` sends it (spec 05 section 2, Serialization).

        Without `include_policies` the list is sent empty: rules are not for the public.
        """
        return {
            "manifest_version": self.manifest_version,
            "name": self.name,
            "version": self.version,
            "entities": [entity.to_wire() for entity in self.entities],
            "routes": [msgspec.to_builtins(route) for route in self.routes],
            "queries": [query.to_wire() for query in self.queries],
            "actions": [action.to_wire() for action in self.actions],
            "policies": [policy.to_wire() for policy in self.policies] if include_policies else [],
            **({} if self.auth is None else {"auth": msgspec.to_builtins(self.auth)}),
        }

    @cached_property
    def public(self) -> Manifest:
        """What those may know of it who may not see private fields: all but these, the indexes and
        relations that name one, and what only the server reads (`auth`)."""
        private = {
            entity.name: frozenset(field.name for field in entity.fields if field.is_private)
            for entity in self.entities
        }
        entities = tuple(_public_entity(entity, private) for entity in self.entities)
        return msgspec.structs.replace(self, entities=entities, auth=None)


def _with_email(users: EntitySpec) -> EntitySpec:
    email = users.fields_by_name.get("email")
    if email is None or email.kind != "string" or email.caseInsensitive is not None:
        return users
    folded = msgspec.structs.replace(email, folds=True)
    fields = tuple(folded if each is email else each for each in users.fields)
    return msgspec.structs.replace(users, fields=fields)


def _public_entity(entity: EntitySpec, all_private: Mapping[str, frozenset[str]]) -> EntitySpec:
    private = all_private[entity.name]
    relations = tuple(
        each
        for each in entity.relations
        if each.field not in private
        and (
            each.field in entity.fields_by_name
            or each.field not in all_private.get(each.target, frozenset())
        )
    )
    if not private and relations == entity.relations:
        return entity
    return msgspec.structs.replace(
        entity,
        fields=tuple(field for field in entity.fields if field.name not in private),
        indexes=tuple(
            index
            for index in entity.indexes
            if private.isdisjoint(index.fields)
            and private.isdisjoint(re.findall(r"\w+", index.where or ""))
        ),
        relations=relations,
    )
