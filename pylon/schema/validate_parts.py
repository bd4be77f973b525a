"""Checks of ours on search, CRDT annotations, defaults and index conditions of an entity, on
inputs, and on what the app says of auth.

Part of `validate`; the reference finds these at the first write or never (spec 05 section 3, end).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import msgspec

from pylon.codec import decode_trusted
from pylon.moments import is_time
from pylon.origins import is_loopback_origin, is_origin
from pylon.schema.constraints import CONSTRAINTS, is_day, is_decimal
from pylon.schema.diagnostics import Diagnostic, did_you_mean, error, warning
from pylon.schema.index_condition import ConditionError, problems, read_condition
from pylon.schema.model import (
    CRDT_CONTAINERS,
    AuthDefault,
    EntitySpec,
    FieldDefault,
    FieldKind,
    FieldSpec,
    JsonDefault,
    Manifest,
    NowDefault,
)

_CRDT_KINDS: dict[str, frozenset[FieldKind]] = {
    "text": frozenset({"string", "richtext"}),
    "counter": frozenset({"int", "float"}),
    **dict.fromkeys(("list", "movable-list", "tree"), frozenset({"string", "richtext"})),
}
"""Annotations that fit some types only; the other one fits all."""


def check_search(manifest: Manifest) -> Iterator[Diagnostic]:
    """Searched, counted and sorted fields must exist; text search needs text."""
    for entity in manifest.entities:
        if entity.search is None:
            continue
        for slot in ("text", "facets", "sortable"):
            names: tuple[str, ...] = getattr(entity.search, slot)
            for position, name in enumerate(names):
                yield from _check_search_field(entity, slot, name, again=name in names[:position])


def _check_search_field(
    entity: EntitySpec, slot: str, name: str, *, again: bool
) -> Iterator[Diagnostic]:
    place = f'the search of "{entity.name}"'
    field = entity.fields_by_name.get(name)
    if field is None:
        yield error(
            "SEARCH_FIELD_NOT_FOUND",
            f'{place} lists "{name}" under {slot}, which is no field of the entity',
            did_you_mean(name, entity.fields_by_name),
            about=("entity", entity.name, "search"),
        )
    elif again:
        yield error(
            "SEARCH_FIELD_DUPLICATE",
            f'{place} lists "{name}" twice under {slot}',
            "Remove one of them.",
            about=("entity", entity.name, "search"),
        )
    elif field.is_private:
        yield error(
            "SEARCH_FIELD_PRIVATE",
            f'{place} lists "{name}" under {slot}, which is private',
            "What can be searched can be guessed; leave private fields out.",
            about=("entity", entity.name, "search"),
        )
    elif slot != "text" and field.kind in ("json", "list"):
        yield error(
            "SEARCH_FIELD_TYPE_MISMATCH",
            f'{place} lists "{name}" under {slot}, which is of type {field.type}',
            "Facets and orders work on single values.",
            about=("entity", entity.name, "search"),
        )
    elif slot == "text" and field.kind not in ("string", "richtext"):
        yield error(
            "SEARCH_FIELD_TYPE_MISMATCH",
            f'{place} lists "{name}" under text, which is of type {field.type}',
            "Text search works on string and richtext; use facets or sortable for others.",
            about=("entity", entity.name, "search"),
        )


def check_crdt(manifest: Manifest) -> Iterator[Diagnostic]:
    """Annotations must be known and fit the type; plain entities ignore them."""
    for entity in manifest.entities:
        for field in entity.fields:
            if field.crdt is None or not entity.crdt:
                continue
            place = f'field "{entity.name}.{field.name}"'
            fitting = _CRDT_KINDS.get(field.crdt)
            if field.crdt not in CRDT_CONTAINERS:
                yield error(
                    "CRDT_ANNOTATION_INVALID",
                    f'{place} has the unknown crdt annotation "{field.crdt}"',
                    did_you_mean(field.crdt, CRDT_CONTAINERS),
                    about=("entity", entity.name, "field", field.name),
                )
            elif fitting is not None and field.kind not in fitting:
                yield error(
                    "CRDT_ANNOTATION_INVALID",
                    f'{place} is of type {field.type}, which cannot be a crdt "{field.crdt}"',
                    f'"{field.crdt}" fits {" and ".join(sorted(fitting))}; remove the annotation.',
                    about=("entity", entity.name, "field", field.name),
                )


def check_index_conditions(manifest: Manifest) -> Iterator[Diagnostic]:
    """The `where` of an index must be comparisons of fields of the entity with fitting literals."""
    for entity in manifest.entities:
        for index in entity.indexes:
            if index.where is None:
                continue
            place = f'the condition of the index "{entity.name}.{index.name}"'
            try:
                condition = read_condition(index.where)
            except ConditionError as wrong:
                yield error(
                    "INDEX_CONDITION_INVALID",
                    f"{place} {wrong.message}",
                    wrong.hint,
                    about=("entity", entity.name, "index", index.name),
                )
                continue
            for problem in problems(condition, entity.fields_by_name):
                yield error(
                    "INDEX_CONDITION_INVALID",
                    f"{place} {problem}",
                    f"Its fields: {', '.join(f'{f.name} ({f.type})' for f in entity.fields)}.",
                    about=("entity", entity.name, "index", index.name),
                )


def check_inputs(manifest: Manifest) -> Iterator[Diagnostic]:
    """An input has a name, a type and whether it is optional; what rows can have it cannot."""
    for noun, callables in (("query", manifest.queries), ("action", manifest.actions)):
        for one in callables:
            for field in one.input:
                said = FieldSpec(
                    name=field.name,
                    type=field.type,
                    optional=field.optional,
                    **{word: getattr(field, word) for word in CONSTRAINTS},
                )
                if field != said:
                    yield warning(
                        "INPUT_KEY_IGNORED",
                        f'the input "{field.name}" of the {noun} "{one.name}" says more than name, '
                        "type, optional and constraints",
                        "The rest has no effect on inputs; leave it out.",
                        about=(noun, one.name, "input", field.name),
                    )


def check_auth(manifest: Manifest) -> Iterator[Diagnostic]:
    """The entities must exist, the origins be origins; what has no effect is told."""
    auth = manifest.auth
    if auth is None:
        return
    for key, name in (("user", auth.user), ("session", auth.session), ("org", auth.org)):
        if name is not None and name not in manifest.entities_by_name:
            yield error(
                "AUTH_ENTITY_NOT_FOUND",
                f'auth.{key} names the entity "{name}", which is not declared',
                did_you_mean(name, manifest.entities_by_name),
                about=("auth",),
            )
    for key, name in (("session", auth.session), ("org", auth.org)):
        if name is not None:
            yield warning(
                "AUTH_KEY_IGNORED",
                f'auth.{key} has no effect: the server writes no rows of "{name}"',
                "Sessions and their tenants are kept in the server's own table.",
                about=("auth",),
            )
    for origin in auth.trusted_origins:
        if not is_origin(origin):
            yield error(
                "AUTH_ORIGIN_INVALID",
                f'auth.trusted_origins has "{origin[:100]}", which is not an origin',
                "An origin is scheme://host or scheme://host:port, in lower case, with no path; "
                "each is named, so * is none.",
                about=("auth",),
            )
        elif origin.startswith("http://") and not is_loopback_origin(origin):
            yield warning(
                "AUTH_ORIGIN_UNENCRYPTED",
                f"auth.trusted_origins has {origin}, a page that anybody on its way can change",
                "Serve the page by HTTPS and name https://...",
                about=("auth",),
            )


def check_defaults(manifest: Manifest) -> Iterator[Diagnostic]:
    """A default must be a value that the field could hold."""
    for entity in manifest.entities:
        for field in entity.fields:
            wanted = _default_problem(field)
            if wanted is not None:
                yield error(
                    "DEFAULT_TYPE_MISMATCH",
                    f'the default of field "{entity.name}.{field.name}" '
                    f"does not fit its type {field.type}",
                    f"Give {wanted}, or remove the default.",
                    about=("entity", entity.name, "field", field.name),
                )


def check_case(manifest: Manifest) -> Iterator[Diagnostic]:
    """Only texts have a case."""
    for entity in manifest.entities:
        for field in entity.fields:
            if field.caseInsensitive and field.kind != "string":
                yield error(
                    "CASE_INSENSITIVE_TYPE",
                    f'field "{entity.name}.{field.name}" is {field.type}, which has no case',
                    "Only a string can be case-insensitive.",
                    about=("entity", entity.name, "field", field.name),
                )
        for index in entity.indexes:
            fields = [entity.fields_by_name.get(name) for name in index.fields]
            if index.caseInsensitive and not any(f and f.kind == "string" for f in fields):
                yield error(
                    "CASE_INSENSITIVE_TYPE",
                    f'index "{index.name}" of {entity.name} has no string field to fold',
                    "Only strings can be case-insensitive.",
                    about=("entity", entity.name, "index", index.name),
                )


def check_settable(manifest: Manifest) -> Iterator[Diagnostic]:
    """A field that every row needs must be one that somebody can give a value."""
    for entity in manifest.entities:
        for field in entity.fields:
            place = f'field "{entity.name}.{field.name}"'
            about = ("entity", entity.name, "field", field.name)
            if field.default is None:
                if not field.optional and (field.readonly or field.private):
                    why = "readonly" if field.readonly else "private"
                    yield warning(
                        "FIELD_NEVER_SET",
                        f"{place} is required and {why} and has no default: clients can insert no"
                        f" row of {entity.name} unless a hook sets it",
                        "Give it a default, make it optional, or set it in a before-insert hook.",
                        about=about,
                    )
            elif field.unique and not isinstance(field.default, AuthDefault | NowDefault):
                yield warning(
                    "DEFAULT_UNIQUE",
                    f"{place} is unique and has the default {field.default!r}: only one row can"
                    " have it",
                    "Leave the default out, so that every insert gives a value of its own.",
                    about=about,
                )


def _default_problem(field: FieldSpec) -> str | None:
    """What a default of this field should have been, or None when it is fine."""
    value = field.default
    if value is None:
        return None
    match field.kind:
        case "string":
            return None if isinstance(value, str | AuthDefault | NowDefault) else "a string"
        case "richtext":
            return None if isinstance(value, str) else "a string"
        case "id":
            return None if isinstance(value, str | AuthDefault) else "an id or the caller's id"
        case "bool":
            return None if isinstance(value, bool) else "true or false"
        case "datetime":
            fits = isinstance(value, NowDefault) or (isinstance(value, str) and is_time(value))
            return None if fits else 'an ISO time such as "2026-01-31T09:00:00Z" or the time now'
        case "int":
            return None if _is_int(value) else "a whole number of 64 bits"
        case "float":
            fits = _is_int(value) or (isinstance(value, float) and isfinite(value))
            return None if fits else "a finite number"
        case "date":
            fits = isinstance(value, NowDefault) or (isinstance(value, str) and is_day(value))
            return None if fits else 'a day such as "2026-01-31" or the day now'
        case "decimal":
            fits = isinstance(value, str | int | float) and is_decimal(value, field.scale)
            return None if fits else f'a number of {field.scale} decimal places, such as "0.5"'
        case "json":
            is_value = not isinstance(value, AuthDefault | NowDefault)
            return None if is_value else "a JSON value"
        case "list":
            is_list = isinstance(value, JsonDefault) and _is_list_of(value.text, field.item)
            return None if is_list else f"a list of {field.item.type}"


def _is_list_of(text: str, item: FieldSpec) -> bool:
    items = decode_trusted(text)
    return isinstance(items, list) and all(
        _default_problem(msgspec.structs.replace(item, default=each)) is None and each is not None
        for each in items
        if isinstance(each, str | int | float | bool | None)
    )


def _is_int(value: FieldDefault) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
