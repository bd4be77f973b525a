"""Checks of ours on relations: what they lead to and through, and what is promised of their keys.

Part of `validate`; the reference finds these at the first write or never (spec 05 section 3, end).
"""

from __future__ import annotations

from collections.abc import Iterator

from pylon.schema.diagnostics import About, Diagnostic, did_you_mean, error, warning
from pylon.schema.model import ON_DELETE, EntitySpec, FieldSpec, Manifest, RelationSpec


def check_relations(manifest: Manifest) -> Iterator[Diagnostic]:
    """Targets and foreign keys must exist, names must be unique, promises must be possible."""
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
                    about=_about(entity, relation),
                )
            seen.add(relation.name)
            yield from _check_ends(manifest, entity, relation)
            if relation.target in manifest.entities_by_name:
                yield from _check_kept(entity, relation)
            if relation.name in entity.fields_by_name:
                yield warning(
                    "RELATION_HIDES_FIELD",
                    f'{_place(entity, relation)} is named like a field of "{entity.name}"',
                    "A graph that includes it shows it in place of the field; rename it.",
                    about=_about(entity, relation),
                )
        yield from _check_shared_keys(entity)


def _about(entity: EntitySpec, relation: RelationSpec) -> About:
    return ("entity", entity.name, "relation", relation.name)


def _place(entity: EntitySpec, relation: RelationSpec) -> str:
    return f'the relation "{entity.name}.{relation.name}"'


def _check_ends(
    manifest: Manifest, entity: EntitySpec, relation: RelationSpec
) -> Iterator[Diagnostic]:
    place = _place(entity, relation)
    target = manifest.entities_by_name.get(relation.target)
    if target is None:
        yield error(
            "RELATION_TARGET_NOT_FOUND",
            f'{place} leads to the entity "{relation.target}", which is not declared',
            did_you_mean(relation.target, manifest.entities_by_name),
            about=_about(entity, relation),
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
            about=_about(entity, relation),
        )


def _check_kept(entity: EntitySpec, relation: RelationSpec) -> Iterator[Diagnostic]:
    """Whether what is promised of the key can be kept."""
    if not relation.is_kept:
        return
    place = _place(entity, relation)
    if relation.onDelete is not None and relation.onDelete not in ON_DELETE:
        yield error(
            "RELATION_ON_DELETE_INVALID",
            f'{place} says on_delete "{relation.onDelete}"',
            did_you_mean(str(relation.onDelete), ON_DELETE),
            about=_about(entity, relation),
        )
        return
    if relation.many:
        yield error(
            "RELATION_KEY_ELSEWHERE",
            f"{place} leads to many rows, so on_delete and check say nothing of it",
            f'Say it where the key stands: a relation of "{relation.target}" to '
            f'"{entity.name}" with field="{relation.field}".',
            about=_about(entity, relation),
        )
        return
    field = entity.fields_by_name.get(relation.field)
    if field is None:
        return
    if not _can_name(field, relation.target):
        yield error(
            "RELATION_FIELD_MISMATCH",
            f'{place} goes through "{field.name}" of type {field.type}, '
            f"which cannot hold the id of a row of {relation.target}",
            f'Make it Id["{relation.target}"] (id({relation.target}) in JSON), or say check=False.',
            about=_about(entity, relation),
        )
    elif relation.onDelete == "set_null" and not field.optional:
        yield error(
            "RELATION_ON_DELETE_INVALID",
            f'{place} is to empty "{field.name}", which is required',
            'Make the field optional (`| None`), or use "cascade" or "restrict".',
            about=_about(entity, relation),
        )


def _can_name(field: FieldSpec, target: str) -> bool:
    return field.target == target if field.kind == "id" else field.kind == "string"


def _check_shared_keys(entity: EntitySpec) -> Iterator[Diagnostic]:
    """A key that two relations go through can be kept for one target, in one way."""
    first: dict[str, RelationSpec] = {}
    for relation in entity.relations:
        if relation.many or not relation.is_kept:
            continue
        other = first.setdefault(relation.field, relation)
        is_other_way = None not in (other.onDelete, relation.onDelete) and (
            other.onDelete != relation.onDelete
        )
        if other.target != relation.target or is_other_way:
            yield error(
                "RELATION_CONFLICT",
                f'the relations "{other.name}" and "{relation.name}" of "{entity.name}" promise '
                f'different things of "{relation.field}"',
                "Give each a field of its own, or say check=False and no on_delete on one of them.",
                about=_about(entity, relation),
            )
