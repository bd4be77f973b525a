"""Checks of ours on names and counts: what SQLite, clients and the server itself cannot carry.

Part of `validate`; the reference leaves all of these to fail later (spec 05 section 3, end).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pylon.limits import ENTITIES_MAX, FIELDS_PER_ENTITY_MAX, NAME_CHARACTERS_MAX
from pylon.schema.diagnostics import About, Diagnostic, error
from pylon.schema.model import EntitySpec, Manifest

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

RESERVED_PREFIXES: Final = ("_pylon", "sqlite_")
"""Names that begin so belong to the server's own tables or to SQLite."""

RESERVED_ENTITIES: Final = ("json_each", "json_tree", "pragma_")
"""Tables that SQLite makes itself are called so; one of the app would be read in their place."""

RESERVED_FIELDS: Final = frozenset({"id", "rowid", "_rowid_", "__proto__", "true", "false"})
"""The implicit column, SQLite's own row number, the key that JavaScript objects cannot have, and
two values that SQLite takes for a column where there is one called so: it would be asked by
`... IS TRUE`."""


RESERVED_RELATIONS: Final = frozenset({"id", "__proto__"})
"""Where a graph shows a relation, it stands among the fields of the row."""


def check_counts(manifest: Manifest) -> Iterator[Diagnostic]:
    """Bounds on how many there are and how long their names may be (`limits`)."""
    if len(manifest.entities) > ENTITIES_MAX:
        yield error(
            "ENTITIES_TOO_MANY",
            f"the app has {len(manifest.entities)} entities; at most {ENTITIES_MAX} are served",
            "Split the app, or use one entity with a field that tells the kinds apart.",
        )
    for entity in manifest.entities:
        if len(entity.fields) > FIELDS_PER_ENTITY_MAX:
            yield error(
                "FIELDS_TOO_MANY",
                f'"{entity.name}" has {len(entity.fields)} fields; '
                f"at most {FIELDS_PER_ENTITY_MAX} are stored",
                "Move some of them to a second entity that refers to this one.",
                about=("entity", entity.name),
            )
    for place, name, about in _every_name(manifest):
        if len(name) > NAME_CHARACTERS_MAX:
            yield error(
                "NAME_TOO_LONG",
                f'the name of the {place} "{name[:40]}..." has {len(name)} characters',
                f"Use at most {NAME_CHARACTERS_MAX}.",
                about=about,
            )


def check_identifiers(manifest: Manifest) -> Iterator[Diagnostic]:
    """Characters, reserved words and clashes by case (SQLite folds case) of stored names."""
    for entity in manifest.entities:
        about: About = ("entity", entity.name)
        yield from _check_identifier("entity", entity.name, entity.name, about)
        for noun, names in _parts(entity):
            for name in names:
                part = (*about, noun, name)
                yield from _check_identifier(noun, f"{entity.name}.{name}", name, part)
    entity_names = [entity.name for entity in manifest.entities]
    yield from _check_case("ENTITY_CASE_CLASH", "entities", entity_names, ("entity",))
    for entity in manifest.entities:
        names = [field.name for field in entity.fields]
        about = ("entity", entity.name, "field")
        yield from _check_case("FIELD_CASE_CLASH", f'fields of "{entity.name}"', names, about)
        names = [index.name for index in entity.indexes]
        about = ("entity", entity.name, "index")
        yield from _check_case("INDEX_CASE_CLASH", f'indexes of "{entity.name}"', names, about)


def _check_identifier(noun: str, place: str, name: str, about: About) -> Iterator[Diagnostic]:
    if not name:
        return  # already told as *_NAME_EMPTY
    if _IDENTIFIER.fullmatch(name) is None:
        suggestion = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
        if not _IDENTIFIER.fullmatch(suggestion):
            suggestion = f"_{suggestion}"
        yield error(
            "IDENTIFIER_INVALID",
            f'the {noun} name "{place}" has characters that a name cannot have',
            f"Use letters, digits and _, not starting with a digit, "
            f'for example "{suggestion[:NAME_CHARACTERS_MAX]}".',
            about=about,
        )
    folded = name.lower()
    if noun == "field" and folded in RESERVED_FIELDS:
        yield error(
            "NAME_RESERVED",
            f'the field "{place}" has a reserved name',
            "Every entity has an id already; leave it out."
            if folded == "id"
            else "Choose another name.",
            about=about,
        )
    if noun == "relation" and folded in RESERVED_RELATIONS:
        yield error(
            "NAME_RESERVED",
            f'the relation "{place}" has a reserved name',
            "In a graph it would stand where the id of the row does; choose another name."
            if folded == "id"
            else "Choose another name.",
            about=about,
        )
    if folded.startswith(RESERVED_PREFIXES):
        yield error(
            "NAME_RESERVED",
            f'the {noun} "{place}" has a reserved name',
            f"Names must not start with {' or '.join(RESERVED_PREFIXES)}.",
            about=about,
        )
    if noun == "entity" and folded.startswith(RESERVED_ENTITIES):
        yield error(
            "NAME_RESERVED",
            f'the entity "{place}" has a reserved name',
            f"Names of entities must not start with {' or '.join(RESERVED_ENTITIES)}.",
            about=about,
        )


def _check_case(code: str, nouns: str, names: Iterable[str], about: About) -> Iterator[Diagnostic]:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            yield error(
                code,
                f'the {nouns} "{first}" and "{name}" differ in case only',
                "The database does not tell them apart; rename one.",
                about=(*about, name),
            )


def _parts(entity: EntitySpec) -> Iterator[tuple[str, list[str]]]:
    yield "field", [field.name for field in entity.fields]
    yield "index", [index.name for index in entity.indexes]
    yield "relation", [relation.name for relation in entity.relations]


def _every_name(manifest: Manifest) -> Iterator[tuple[str, str, About]]:
    for entity in manifest.entities:
        yield "entity", entity.name, ("entity", entity.name)
        for noun, names in _parts(entity):
            for name in names:
                yield noun, name, ("entity", entity.name, noun, name)
    for query in manifest.queries:
        yield "query", query.name, ("query", query.name)
    for action in manifest.actions:
        yield "action", action.name, ("action", action.name)
    for policy in manifest.policies:
        yield "policy", policy.name, ("policy", policy.name)
