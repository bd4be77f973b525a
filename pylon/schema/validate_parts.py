"""Checks of ours on relations, search, CRDT annotations, defaults and index conditions of an
entity, on inputs, and on what the app says of auth.

Part of `validate`; the reference finds these at the first write or never (spec 05 section 3, end).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from pylon.moments import is_time
from pylon.origins import is_loopback_origin, is_origin
from pylon.schema.diagnostics import Diagnostic, did_you_mean, error, warning
from pylon.schema.index_condition import ConditionError, problems, read_condition
from pylon.schema.model import (
    CRDT_CONTAINERS,
    AuthDefault,
    EntitySpec,
    FieldDefault,
    FieldKind,
    FieldSpec,
    Manifest,
    NowDefault,
    RelationSpec,
)

_CRDT_KINDS: dict[str, frozenset[FieldKind]] = {
    "text": frozenset({"string", "richtext"}),
    "counter": frozenset({"int", "float"}),
}
"""Annotations that fit some types only; the others fit all."""


def check_relations(manifest: Manifest) -> Iterator[Diagnostic]:
    """Targets and foreign keys must exist, names must be unique."""
    for entity in manifest.entities:
        seen: set[str] = set()
        for relation in entity.relations:
            if relation.name in seen or not relation.name:
                yield error(
                    "RELATION_DUPLICATE",
                    f'"{entity.name}" has two relations named "{relation.name}"'
                    if relation.name
                    else f'a relation of "{entity.name}" has no name',
                    "Give every relation of an entity a name of its own.",
                )
            seen.add(relation.name)
            yield from _check_relation(manifest, entity, relation)


def _check_relation(
    manifest: Manifest, entity: EntitySpec, relation: RelationSpec
) -> Iterator[Diagnostic]:
    place = f'the relation "{entity.name}.{relation.name}"'
    target = manifest.entities_by_name.get(relation.target)
    if target is None:
        yield error(
            "RELATION_TARGET_NOT_FOUND",
            f'{place} leads to the entity "{relation.target}", which is not declared',
            did_you_mean(relation.target, manifest.entities_by_name),
        )
    # The key of a to-many relation may stand on either side (spec 02, weaknesses of graphs).
    names = set(entity.fields_by_name)
    sides = f'"{entity.name}"'
    if relation.many:
        if target is None:
            return
        names |= set(target.fields_by_name)
        sides += f' or "{target.name}"'
    if relation.field not in names:
        yield error(
            "RELATION_FIELD_NOT_FOUND",
            f'{place} goes through "{relation.field}", which is no field of {sides}',
            did_you_mean(relation.field, sorted(names)),
        )


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
        )
    elif again:
        yield error(
            "SEARCH_FIELD_DUPLICATE",
            f'{place} lists "{name}" twice under {slot}',
            "Remove one of them.",
        )
    elif field.is_private:
        yield error(
            "SEARCH_FIELD_PRIVATE",
            f'{place} lists "{name}" under {slot}, which is private',
            "What can be searched can be guessed; leave private fields out.",
        )
    elif slot == "text" and field.kind not in ("string", "richtext"):
        yield error(
            "SEARCH_FIELD_TYPE_MISMATCH",
            f'{place} lists "{name}" under text, which is of type {field.type}',
            "Text search works on string and richtext; use facets or sortable for others.",
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
                )
            elif fitting is not None and field.kind not in fitting:
                yield error(
                    "CRDT_ANNOTATION_INVALID",
                    f'{place} is of type {field.type}, which cannot be a crdt "{field.crdt}"',
                    f'"{field.crdt}" fits {" and ".join(sorted(fitting))}; remove the annotation.',
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
                yield error("INDEX_CONDITION_INVALID", f"{place} {wrong.message}", wrong.hint)
                continue
            for problem in problems(condition, entity.fields_by_name):
                yield error(
                    "INDEX_CONDITION_INVALID",
                    f"{place} {problem}",
                    f"Its fields: {', '.join(f'{f.name} ({f.type})' for f in entity.fields)}.",
                )


def check_inputs(manifest: Manifest) -> Iterator[Diagnostic]:
    """An input has a name, a type and whether it is optional; what rows can have it cannot."""
    for noun, callables in (("query", manifest.queries), ("action", manifest.actions)):
        for one in callables:
            for field in one.input:
                said = FieldSpec(name=field.name, type=field.type, optional=field.optional)
                if field != said:
                    yield warning(
                        "INPUT_KEY_IGNORED",
                        f'the input "{field.name}" of the {noun} "{one.name}" says more than name, '
                        "type and optional",
                        "The rest has no effect on inputs; leave it out.",
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
            )
    for key, name in (("session", auth.session), ("org", auth.org)):
        if name is not None:
            yield warning(
                "AUTH_KEY_IGNORED",
                f'auth.{key} has no effect: the server writes no rows of "{name}"',
                "Sessions and their tenants are kept in the server's own table.",
            )
    for origin in auth.trusted_origins:
        if not is_origin(origin):
            yield error(
                "AUTH_ORIGIN_INVALID",
                f'auth.trusted_origins has "{origin[:100]}", which is not an origin',
                "An origin is scheme://host or scheme://host:port, in lower case, with no path; "
                "each is named, so * is none.",
            )
        elif origin.startswith("http://") and not is_loopback_origin(origin):
            yield warning(
                "AUTH_ORIGIN_UNENCRYPTED",
                f"auth.trusted_origins has {origin}, a page that anybody on its way can change",
                "Serve the page by HTTPS and name https://...",
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


def _is_int(value: FieldDefault) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
