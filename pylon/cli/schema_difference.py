"""The differences between two manifests, in the order of the manifests (spec 05 section 9.5).

For people and tools that compare releases. What a database needs is `store/evolution/plan.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from pylon.codec import encode
from pylon.schema.model import (
    AuthSpec,
    EntitySpec,
    Manifest,
    RouteSpec,
    SearchSpec,
)


class Difference(Struct, frozen=True, kw_only=True):
    """`kind` is what and `_added`, `_removed` or `_changed`; `parts` are the keys that changed,
    with their values before and after (None: not there)."""

    kind: str
    name: str
    entity: str | None = None
    parts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"kind": self.kind}
        if self.entity is not None:
            wire["entity"] = self.entity
        wire["name"] = self.name
        if self.parts:
            wire["parts"] = {
                key: {"from": before, "to": after} for key, (before, after) in self.parts.items()
            }
        return wire

    def to_text(self) -> str:
        """One line for people."""
        place = ".".join(filter(None, (self.entity, self.name)))
        changes = [f"{key}: {_shown(a)} -> {_shown(b)}" for key, (a, b) in self.parts.items()]
        return f"{self.kind} {place}" + (f" ({'; '.join(changes)})" if changes else "")


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
    if old.auth != new.auth:
        parts = _changed(old.auth or AuthSpec(), new.auth or AuthSpec())
        found.append(Difference(kind="auth_changed", name="auth", parts=parts))
    return found


def _in_entity(old: EntitySpec, new: EntitySpec) -> Iterator[Difference]:
    yield from _named("field", old.fields, new.fields, entity=old.name)
    yield from _named("index", old.indexes, new.indexes, entity=old.name)
    yield from _named("relation", old.relations, new.relations, entity=old.name)
    if old.search != new.search:
        parts = _changed(old.search or SearchSpec(), new.search or SearchSpec())
        yield Difference(kind="search_changed", name="search", entity=old.name, parts=parts)
    if old.crdt != new.crdt:
        parts = {"crdt": (old.crdt, new.crdt)}
        yield Difference(kind="entity_changed", name=old.name, parts=parts)


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
            parts = _changed(value, after[name])
            yield Difference(kind=f"{noun}_changed", name=name, entity=entity, parts=parts)


def _changed(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """The keys of a part of a manifest that are not the same in both."""
    before, after = _wire(old), _wire(new)
    keys = dict.fromkeys((*before, *after))
    return {
        key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    }


def _wire(part: Any) -> dict[str, Any]:
    if isinstance(part, AuthSpec | RouteSpec):
        wire: dict[str, Any] = msgspec.to_builtins(part)
        return wire
    made: dict[str, Any] = part.to_wire()
    return made


def _shown(value: Any) -> str:
    return "none" if value is None else encode(value).decode()
