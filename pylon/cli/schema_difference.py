"""The differences between two manifests by name, in the order of the manifests (spec 05 9.5).

For people and tools that compare releases. What a database needs is `store/evolution/plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pylon.schema.model import EntitySpec, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`kind` is what and `_added`, `_removed` or `_changed`."""

    kind: str
    name: str
    entity: str | None = None

    def to_wire(self) -> dict[str, str]:
        wire = {"kind": self.kind}
        if self.entity is not None:
            wire["entity"] = self.entity
        return {**wire, "name": self.name}


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """Every difference, the wider first."""
    found: list[Difference] = []
    if old.manifest_version != new.manifest_version:
        name = f"{old.manifest_version} -> {new.manifest_version}"
        found.append(Difference(kind="manifest_version_changed", name=name))
    found += _named("entity", old.entities, new.entities, deep=False)
    for entity in old.entities:
        after = new.entities_by_name.get(entity.name)
        if after is not None:
            found += _in_entity(entity, after)
    found += _named("route", old.routes, new.routes, key="path")
    found += _named("query", old.queries, new.queries)
    found += _named("action", old.actions, new.actions)
    found += _named("policy", old.policies, new.policies)
    return found


def _in_entity(old: EntitySpec, new: EntitySpec) -> Iterator[Difference]:
    yield from _named("field", old.fields, new.fields, entity=old.name)
    yield from _named("index", old.indexes, new.indexes, entity=old.name)
    yield from _named("relation", old.relations, new.relations, entity=old.name)
    if old.search != new.search:
        yield Difference(kind="search_changed", name=old.name, entity=old.name)


def _named(
    noun: str,
    old: Iterable[Any],
    new: Iterable[Any],
    *,
    entity: str | None = None,
    key: str = "name",
    deep: bool = True,
) -> Iterator[Difference]:
    before = {getattr(each, key): each for each in old}
    after = {getattr(each, key): each for each in new}
    for name in after:
        if name not in before:
            yield Difference(kind=f"{noun}_added", name=name, entity=entity)
    for name in before:
        if name not in after:
            yield Difference(kind=f"{noun}_removed", name=name, entity=entity)
    for name, value in before.items():
        if deep and name in after and after[name] != value:
            yield Difference(kind=f"{noun}_changed", name=name, entity=entity)
