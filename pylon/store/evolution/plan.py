"""The difference between a database and a manifest, as steps. Pure: no rows are looked at.

Compared are the live schema, what the engine recorded of it (types finer than SQLite's, and what
is ours to remove) and the manifest. Tables, columns and indexes that the engine did not make are
left alone. Steps come in the order of the manifest; what they cost is found by `survey`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pylon.moments import moment_column, shown_column
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.evolution.convert import kind_of
from pylon.store.evolution.live import Live, LiveTable
from pylon.store.evolution.model import (
    AddField,
    AddIndex,
    AddMoments,
    ConstrainField,
    CreateEntity,
    CreateSearchIndex,
    EvolutionError,
    Hints,
    KeepReference,
    Recorded,
    RecordedEntity,
    RecordedField,
    RelaxField,
    RemoveEntity,
    RemoveField,
    RemoveIndex,
    RemoveSearchIndex,
    RenameEntity,
    RenameField,
    RequireField,
    RestoreEntity,
    RestoreField,
    RetypeField,
    SetPrivate,
    Step,
    Suggestion,
    constraints_of,
)
from pylon.store.tables import IndexShape, column_type, wanted_indexes

NOTHING_RECORDED = RecordedEntity(fields={})


class Diff(Struct, frozen=True, kw_only=True):
    """The steps, and renames that were not asked for but look likely."""

    steps: tuple[Step, ...]
    suggestions: tuple[Suggestion, ...]


def diff(
    live: Live,
    recorded: Recorded | None,
    manifest: Manifest,
    hints: Hints,
    *,
    with_search: bool,
    is_migrated: bool = False,
) -> Diff:
    """The steps from `live` to `manifest`. `recorded` is None for a database without a ledger,
    whose tables are taken over as they are. Without `with_search` no search steps are made.
    `is_migrated`: hand-written SQL has run, which may have written to any table."""
    _check_index_names(manifest)
    tables, known = dict(live.tables), dict(recorded.entities) if recorded is not None else {}
    renames = [*_rename_entities(tables, known, manifest, hints)]
    renames += _rename_fields(tables, known, manifest, hints)
    drops: list[Step] = []
    adds: list[Step] = []
    changes: list[Step] = []
    removals: list[Step] = []
    moments: list[Step] = []
    indexes: list[Step] = []
    references: list[Step] = []
    search: list[Step] = []
    for entity in manifest.entities:
        table, was = tables.get(entity.name), known.get(entity.name, NOTHING_RECORDED)
        if table is None:
            adds.append(CreateEntity(entity=entity))
            table, was = _empty_table(entity), NOTHING_RECORDED
        else:
            if was.kept or (recorded is not None and entity.name not in known):
                adds.append(RestoreEntity(name=entity.name))
            adds += _missing_fields(entity, table)
            changes += _changed_fields(entity, table, was, has_ledger=recorded is not None)
            removals += _left_fields(entity, table, was)
            moments += _unread_times(
                entity, table, was, [*renames, *changes], is_migrated=is_migrated
            )
            references += _new_references(entity, tables, was)
        drops += _unwanted_indexes(entity, table, was)
        indexes += _missing_indexes(entity, table)
        if with_search:
            search += _search(entity, was)
    for name in known:
        if name not in manifest.entities_by_name and name in tables:
            removals.append(RemoveEntity(name=name))
    steps = (
        *(*renames, *drops, *adds, *changes, *removals),
        *(*moments, *indexes, *references, *search),
    )
    return Diff(steps=steps, suggestions=tuple(_suggest(adds, removals, known)))


def _check_index_names(manifest: Manifest) -> None:
    """Two entities may come to the same index name: `A_b` with `c`, and `A` with `b_c`; and an
    index may be called like a table, with which it shares the names of the database."""
    tables = {entity.name.lower(): entity.name for entity in manifest.entities}
    owners: dict[str, str] = {}
    for entity in manifest.entities:
        for index in wanted_indexes(entity):
            table = tables.get(index.name.lower())
            if table is not None:
                raise EvolutionError(
                    "INDEX_NAME_CLASH",
                    f'An index of {entity.name} would be "{index.name}", as the entity {table} is.',
                    "Rename the index or the entity in the app.",
                )
            first = owners.setdefault(index.name.lower(), entity.name)
            if (
                first != entity.name
                or sum(each.name.lower() == index.name.lower() for each in wanted_indexes(entity))
                > 1
            ):
                raise EvolutionError(
                    "INDEX_NAME_CLASH",
                    f'Two indexes (of {first} and {entity.name}) would both be "{index.name}".',
                    "Rename one of the indexes in the app.",
                )


# --- renames ---------------------------------------------------------------------------------


def _rename_entities(
    tables: dict[str, LiveTable],
    known: dict[str, RecordedEntity],
    manifest: Manifest,
    hints: Hints,
) -> Iterator[Step]:
    """Entity renames, done to `tables` and `known` as well."""
    for old, new in hints.entities:
        yield _rename_entity(tables, known, manifest, old, new)
    for old, new in list(_case_renames(tables, manifest)):
        yield _rename_entity(tables, known, manifest, old, new)


def _rename_entity(
    tables: dict[str, LiveTable],
    known: dict[str, RecordedEntity],
    manifest: Manifest,
    old: str,
    new: str,
) -> Step:
    hint = f"{old}:{new}"
    if new not in manifest.entities_by_name:
        raise _unknown(hint, f"the app has no entity {new}")
    if old in manifest.entities_by_name:
        raise _unknown(hint, f"{old} is still an entity of the app")
    if old not in tables:
        raise _unknown(hint, f"the database has no table {old}")
    for other in tables:
        if other.lower() == new.lower() and other not in (old, new):
            raise _unknown(hint, f"there is a table {other}, which differs in case only")
    step = RenameEntity(name=old, new_name=new, replaces=new in tables)
    tables[new] = replace(tables.pop(old), name=new)
    known.pop(new, None)
    if old in known:
        known[new] = msgspec.structs.replace(known.pop(old), kept=False)
    return step


def _case_renames(tables: dict[str, LiveTable], manifest: Manifest) -> Iterator[tuple[str, str]]:
    """SQLite folds case: a table that differs from an entity in case only is that entity."""
    folded = {name.lower(): name for name in tables}
    for entity in manifest.entities:
        old = folded.get(entity.name.lower(), entity.name)
        if old != entity.name:
            yield old, entity.name


def _rename_fields(
    tables: dict[str, LiveTable],
    known: dict[str, RecordedEntity],
    manifest: Manifest,
    hints: Hints,
) -> Iterator[Step]:
    """Field renames, done to `tables` and `known` as well. A hint may name the entity as it was
    or as it is."""
    current = dict(hints.entities)
    for entity, old, new in hints.fields:
        yield _rename_field(tables, known, manifest, (current.get(entity, entity), old, new))
    for spec in manifest.entities:
        if spec.name in tables:
            folded = {name.lower(): name for name in tables[spec.name].columns}
            for name in spec.fields_by_name:
                old = folded.get(name.lower(), name)
                if old != name:
                    yield _rename_field(tables, known, manifest, (spec.name, old, name))


def _rename_field(
    tables: dict[str, LiveTable],
    known: dict[str, RecordedEntity],
    manifest: Manifest,
    asked: tuple[str, str, str],
) -> Step:
    entity, old, new = asked
    hint = f"{entity}.{old}:{new}"
    spec, table = manifest.entities_by_name.get(entity), tables.get(entity)
    if spec is None or table is None:
        raise _unknown(hint, f"there is no entity {entity} in both app and database")
    if new not in spec.fields_by_name:
        raise _unknown(hint, f"{entity} has no field {new} in the app")
    if old in spec.fields_by_name or old == "id":
        raise _unknown(hint, f"{entity}.{old} is still a field of the app")
    if old not in table.columns:
        raise _unknown(hint, f"{entity} has no column {old} in the database")
    for other in table.columns:
        if other.lower() == new.lower() and other not in (old, new):
            raise _unknown(hint, f"{entity} has a column {other}, which differs in case only")
    tables[entity] = _with_renamed_column(table, old, new)
    was = known.get(entity)
    if was is not None:
        known[entity] = _with_renamed_field(was, old, new)
    return RenameField(entity=entity, name=old, new_name=new, merges=new in table.columns)


def _unknown(hint: str, why: str) -> EvolutionError:
    return EvolutionError(
        "RENAME_INVALID",
        f"The rename {hint} cannot be done: {why}.",
        "Write --rename Entity.old:new and --rename-entity Old:New.",
    )


def _with_renamed_column(table: LiveTable, old: str, new: str) -> LiveTable:
    names = {old: new, moment_column(old): moment_column(new)}
    gone = set(names.values())
    columns = {
        names.get(name, name): replace(each, name=names.get(name, name))
        for name, each in table.columns.items()
        if name not in gone
    }
    indexes = {
        name: replace(each, fields=tuple(names.get(f, f) for f in each.fields))
        for name, each in table.indexes.items()
        # Those of a column that is merged away go with it.
        if gone.isdisjoint(each.fields)
    }
    return replace(table, columns=columns, indexes=indexes)


def _with_renamed_field(was: RecordedEntity, old: str, new: str) -> RecordedEntity:
    fields = {name: each for name, each in was.fields.items() if name not in (old, new)}
    if old in was.fields:
        fields[new] = msgspec.structs.replace(was.fields[old], kept=False)
    return msgspec.structs.replace(was, fields=fields)


# --- fields ----------------------------------------------------------------------------------


def _empty_table(entity: EntitySpec) -> LiveTable:
    return LiveTable(name=entity.name, columns={}, indexes={})


def _missing_fields(entity: EntitySpec, table: LiveTable) -> Iterator[Step]:
    for field in entity.fields:
        if field.name not in table.columns:
            yield AddField(entity=entity.name, field=field)


def _changed_fields(
    entity: EntitySpec, table: LiveTable, was: RecordedEntity, *, has_ledger: bool
) -> Iterator[Step]:
    for field in entity.fields:
        if field.name not in table.columns:
            continue
        before = was.fields.get(field.name)
        is_new = before is None or before.kept
        if is_new and has_ledger:
            yield RestoreField(entity=entity.name, name=field.name)
        from_type = _live_type(field, table) if before is None else before.type
        if from_type != field.type:
            yield RetypeField(
                entity=entity.name, field=field, from_type=from_type, foreign=before is None
            )
        if has_ledger and not field.optional and (is_new or before is None or before.optional):
            yield RequireField(entity=entity.name, field=field)
        known = {} if before is None else before.constraints
        if has_ledger and constraints_of(field) != known:
            yield ConstrainField(entity=entity.name, field=field, from_type=from_type)
        if before is not None and not is_new:
            yield from _changed_words(entity.name, field, before)


def _changed_words(entity: str, field: FieldSpec, before: RecordedField) -> Iterator[Step]:
    if field.optional and not before.optional:
        yield RelaxField(entity=entity, name=field.name)
    if field.is_private != before.private:
        yield SetPrivate(entity=entity, name=field.name, private=field.is_private)


def _live_type(field: FieldSpec, table: LiveTable) -> str:
    """What a column that nobody recorded holds: the field's type where SQLite's fits it."""
    declared = affinity(table.columns[field.name].type)
    if declared == column_type(field.kind):
        return field.type
    return {"INTEGER": "int", "REAL": "float"}.get(declared, "string")


def affinity(declared: str) -> str:
    """SQLite's reading of a declared type, as one of the three that we declare."""
    if "INT" in declared or "BOOL" in declared:
        return "INTEGER"
    if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "TEXT"


def _left_fields(entity: EntitySpec, table: LiveTable, was: RecordedEntity) -> Iterator[Step]:
    for name in was.fields:
        if name not in entity.fields_by_name and name in table.columns:
            yield RemoveField(entity=entity.name, name=name)


def _unread_times(
    entity: EntitySpec,
    table: LiveTable,
    was: RecordedEntity,
    steps: list[Step],
    *,
    is_migrated: bool,
) -> Iterator[Step]:
    """Times whose keys are not there, or may not be those of the values. What becomes a time by
    another of these steps is read by it."""
    own = [each for each in steps if isinstance(each, RenameField | RetypeField)]
    own = [each for each in own if each.entity == entity.name]
    merged = {each.new_name for each in own if isinstance(each, RenameField) and each.merges}
    retyped = {each.field.name for each in own if isinstance(each, RetypeField)}
    for field in entity.fields:
        if field.kind != "datetime" or field.name not in table.columns or field.name in retyped:
            continue
        before = was.fields.get(field.name)
        is_kept = before is not None and before.moments
        if is_migrated or not is_kept or field.name in merged:
            yield AddMoments(entity=entity.name, name=field.name)


# --- indexes and search ----------------------------------------------------------------------


def _unwanted_indexes(entity: EntitySpec, table: LiveTable, was: RecordedEntity) -> Iterator[Step]:
    """Ours that are no longer declared, and those whose definition changed."""
    wanted = {each.name: each for each in wanted_indexes(entity)}
    for name, shape in table.indexes.items():
        if (name in wanted and wanted[name] != shape) or (
            name not in wanted and name in was.indexes
        ):
            yield RemoveIndex(entity=entity.name, name=name)


def _missing_indexes(entity: EntitySpec, table: LiveTable) -> Iterator[Step]:
    for index in wanted_indexes(entity):
        live = table.indexes.get(index.name)
        if live != index:
            by_text = tuple(map(shown_column, index.fields))
            tells_apart = live is not None and live.unique and live.fields == by_text
            tells_apart = tells_apart and index.unique and by_text != index.fields
            yield _add_index(entity.name, index, tells_apart=tells_apart)


def _add_index(entity: str, index: IndexShape, *, tells_apart: bool) -> AddIndex:
    return AddIndex(
        entity=entity,
        name=index.name,
        fields=index.fields,
        unique=index.unique,
        where=index.where,
        tells_apart=tells_apart,
        folded=index.folded,
    )


# --- keys ------------------------------------------------------------------------------------


def kept_references(entity: EntitySpec) -> tuple[str, ...]:
    """The keys that must name rows, as they are recorded."""
    return tuple(
        f"{each.field}:{each.target}"
        for each in entity.relations
        if each.check and not each.many and each.field in entity.fields_by_name
    )


def _new_references(
    entity: EntitySpec, tables: dict[str, LiveTable], was: RecordedEntity
) -> Iterator[Step]:
    """Those of which rows that there are may say otherwise."""
    for each in kept_references(entity):
        name, _, target = each.partition(":")
        if each not in was.references and name in tables[entity.name].columns:
            yield KeepReference(entity=entity.name, name=name, target=target)


def _search(entity: EntitySpec, was: RecordedEntity) -> Iterator[Step]:
    if entity.search == was.search:
        return
    if entity.search:
        yield CreateSearchIndex(entity=entity.name, config=entity.search)
    elif was.search:
        yield RemoveSearchIndex(entity=entity.name)


# --- likely renames --------------------------------------------------------------------------


def _suggest(
    adds: list[Step], removals: list[Step], known: dict[str, RecordedEntity]
) -> Iterator[Suggestion]:
    """One field gone and one of its kind new, or one entity gone and one with its fields new."""
    created = [each.entity for each in adds if isinstance(each, CreateEntity)]
    for removed in removals:
        if isinstance(removed, RemoveField):
            yield from _suggest_field(removed, adds, removals, known)
        elif isinstance(removed, RemoveEntity) and not known[removed.name].kept:
            names = {n for n, each in known[removed.name].fields.items() if not each.kept}
            alike = [each for each in created if set(each.fields_by_name) == names]
            if len(alike) == 1:
                yield Suggestion(
                    option=f"--rename-entity {removed.name}:{alike[0].name}",
                    message=f"{removed.name} is gone and {alike[0].name} is new; was it renamed?",
                    removed=removed,
                )


def _suggest_field(
    removed: RemoveField,
    adds: list[Step],
    removals: list[Step],
    known: dict[str, RecordedEntity],
) -> Iterator[Suggestion]:
    entity, fields = removed.entity, known[removed.entity].fields
    if fields[removed.name].kept:
        return
    kind = kind_of(fields[removed.name].type)
    added = [
        each.field.name
        for each in adds
        if isinstance(each, AddField) and each.entity == entity and each.field.kind == kind
    ]
    rivals = [
        each
        for each in removals
        if isinstance(each, RemoveField)
        and each.entity == entity
        and not fields[each.name].kept
        and kind_of(fields[each.name].type) == kind
    ]
    if len(added) == 1 and len(rivals) == 1:
        yield Suggestion(
            option=f"--rename {entity}.{removed.name}:{added[0]}",
            message=f"{entity}.{removed.name} is gone and {entity}.{added[0]} is new; "
            "was it renamed?",
            removed=removed,
        )
