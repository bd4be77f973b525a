"""`Declarations`: collects the parts of an app that is written in Python and makes its manifest.

The public `App` (in `pylon/app.py`) inherits from it. Mistakes in declarations are raised together
by `manifest()`; whether the manifest makes sense is judged by `validate`, as for any other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar, overload

from pylon.schema.called import declaration
from pylon.schema.diagnostics import About, Diagnostic, SchemaError, Span, error
from pylon.schema.entity import POLICY_WORDS, Entity, Rule, policy_slot, rule_text
from pylon.schema.fields import Problem, read_type
from pylon.schema.model import (
    CallableSpec,
    EntitySpec,
    FieldSpec,
    Manifest,
    PolicySpec,
    RouteSpec,
)
from pylon.schema.places import Places
from pylon.schema.user import User

EntityT = TypeVar("EntityT", bound=Entity)

Input = Mapping[str, object]
"""Inputs of a query or action: names to Python types (`str`, `int | None`, `Id["User"]`) or types
of the manifest as text ("id(User)")."""


class Declarations:
    """What an app consists of, as it is being declared."""

    def __init__(self, name: str, version: str = "0.1.0") -> None:
        self.name = name
        self.version = version
        self._entities: list[tuple[type[Entity], bool]] = []
        self._policies: list[PolicySpec] = []
        self._queries: list[CallableSpec] = []
        self._actions: list[CallableSpec] = []
        self._routes: list[RouteSpec] = []
        self._problems: list[Diagnostic] = []
        self._spots: dict[About, Span] = {(): _user_span()}

    @overload
    def entity(self, cls: type[EntityT], /) -> type[EntityT]: ...
    @overload
    def entity(self, /, *, crdt: bool = True) -> Callable[[type[EntityT]], type[EntityT]]: ...
    @declaration("app.entity", cls=type, crdt=bool)
    def entity(
        self, cls: type[EntityT] | None = None, /, *, crdt: bool = True
    ) -> type[EntityT] | Callable[[type[EntityT]], type[EntityT]]:
        """Add an entity: `@app.entity`, or `@app.entity(crdt=False)` for plain rows."""

        def add(cls: type[EntityT]) -> type[EntityT]:
            if not (isinstance(cls, type) and hasattr(cls, "__pylon__")):
                name = getattr(cls, "__name__", repr(cls))
                known = name if isinstance(cls, type) else "..."
                hint = f"Write `@app.entity` above `class {known}(Entity):`."
                self._report(f"the entity {name} is no subclass of Entity", "ENTITY_INVALID", hint)
            else:
                self._entities.append((cls, crdt))
            return cls

        return add if cls is None else add(cls)

    @declaration("app.policy", name=str, entity=(type, str), action=str)
    def policy(
        self,
        name: str,
        *,
        entity: type[Entity] | str | None = None,
        action: str | None = None,
        allow: Rule | None = None,
        read: Rule | None = None,
        insert: Rule | None = None,
        update: Rule | None = None,
        delete: Rule | None = None,
        write: Rule | None = None,
    ) -> None:
        """Add a policy beside those in the entities. All policies of an entity must allow."""
        given = (allow, read, insert, update, delete, write)
        rules: dict[str, str] = {}
        for word, rule in zip(POLICY_WORDS, given, strict=True):
            if rule is None:
                continue
            try:
                rules[policy_slot(word)] = rule_text(rule)
            except Problem as problem:
                message = f'{word} of the policy "{name}" {problem.message}'
                self._report(message, problem.code, problem.hint)
        self._spots.setdefault(("policy", name), _user_span())
        target = entity.__name__ if isinstance(entity, type) else entity
        self._policies.append(PolicySpec(name=name, entity=target, action=action, **rules))

    @declaration("app.query", name=str, input=Mapping)
    def query(self, name: str, *, input: Input | None = None) -> None:  # noqa: A002
        """Declare a query for clients and for routes."""
        self._queries.append(self._callable("query", name, input or {}))

    @declaration("app.action", name=str, input=Mapping)
    def action(self, name: str, *, input: Input | None = None) -> None:  # noqa: A002
        """Declare an action: a name with checked inputs (`POST /api/actions/<name>`)."""
        self._actions.append(self._callable("action", name, input or {}))

    @declaration(
        "app.route",
        path=str,
        mode=frozenset({"static", "server", "live"}),
        query=str,
        auth=frozenset({"public", "user"}),
    )
    def route(
        self,
        path: str,
        *,
        mode: Literal["static", "server", "live"] = "live",
        query: str | None = None,
        auth: Literal["public", "user"] | None = None,
    ) -> None:
        """Declare a page of the app. Only `static` ones have an effect: they are built."""
        self._spots.setdefault(("route", path), _user_span())
        self._routes.append(RouteSpec(path=path, mode=mode, query=query, auth=auth))

    def manifest(self) -> Manifest:
        """The manifest of everything declared so far.

        Raises `SchemaError` with every declaration mistake at once. Adds the standard `User` when
        something refers to an entity User and none is declared.
        """
        entities = list(self._entities)
        names = {cls.__name__ for cls, _ in entities}
        if "User" not in names and "User" in self._targets():
            entities.append((User, True))
        problems = dict.fromkeys(
            problem for cls, _ in entities for problem in cls.__pylon__.problems
        )
        if problems or self._problems:
            raise SchemaError((*problems, *self._problems), f'The app "{self.name}"')
        return Manifest(
            name=self.name,
            version=self.version,
            entities=tuple(_entity_spec(cls, crdt=crdt) for cls, crdt in entities),
            routes=tuple(self._routes),
            queries=tuple(self._queries),
            actions=tuple(self._actions),
            policies=(*_own_policies(cls for cls, _ in entities), *self._policies),
        )

    @property
    def places(self) -> Places:
        """Where each part of the manifest was declared, for findings about it."""
        spots = dict(self._spots)
        for cls, _ in self._entities:
            for part, span in cls.__pylon__.spots.items():
                spots.setdefault(_about(cls.__name__, part), span)
        return spots

    def is_registered(self, cls: type[Entity]) -> bool:
        """Whether the class, or one that inherits from it, is an entity of the app."""
        return any(issubclass(each, cls) for each, _ in self._entities)

    def _targets(self) -> set[str | None]:
        """The names of all entities that something refers to."""
        targets: set[str | None] = {policy.entity for policy in self._policies}
        for cls, _ in self._entities:
            targets.update(spec.target for spec in cls.__pylon__.fields)
            targets.update(spec.target for spec in cls.__pylon__.relations)
        for one in (*self._queries, *self._actions):
            targets.update(spec.target for spec in one.input)
        return targets

    def _callable(self, noun: str, name: str, inputs: Input) -> CallableSpec:
        self._spots.setdefault((noun, name), _user_span())
        fields: list[FieldSpec] = []
        for field_name, value in inputs.items():
            try:
                said = read_type(value)
                fields.append(
                    FieldSpec(
                        name=field_name,
                        type=said.type,
                        optional=said.optional,
                        format=said.format,
                        choices=said.choices,
                    )
                )
            except Problem as problem:
                message = f'the input "{field_name}" of the {noun} "{name}" {problem.message}'
                self._report(message, problem.code, problem.hint)
        return CallableSpec(name=name, input=tuple(fields))

    def _report(self, message: str, code: str, hint: str) -> None:
        self._problems.append(error(code, message, hint, span=_user_span()))


def _entity_spec(cls: type[Entity], *, crdt: bool) -> EntitySpec:
    reading = cls.__pylon__
    return EntitySpec(
        name=cls.__name__,
        fields=reading.fields,
        indexes=reading.indexes,
        relations=reading.relations,
        search=reading.search,
        crdt=crdt,
    )


def _about(entity: str, part: str) -> About:
    """What a finding on a part of a class body is about."""
    block, _, name = part.partition(".")
    match block:
        case "":
            return ("entity", entity)
        case "policy":
            slot = (POLICY_WORDS[name],) if name in POLICY_WORDS else ()
            return ("policy", entity, *slot)
        case "indexes" | "relations" if name:
            return ("entity", entity, "index" if block == "indexes" else "relation", name)
        case "search":
            return ("entity", entity, "search")
        case _:
            return ("entity", entity, "field", part)


def _own_policies(classes: Iterable[type[Entity]]) -> Iterator[PolicySpec]:
    for cls in classes:
        if cls.__pylon__.rules:
            yield PolicySpec(name=cls.__name__, entity=cls.__name__, **cls.__pylon__.rules)


def _user_span() -> Span:
    """Where the declaration stands: the nearest frame outside this module and `App`."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__") in _OWN_MODULES and frame.f_back is not None:
        frame = frame.f_back
    return Span(frame.f_code.co_filename, frame.f_lineno)


_OWN_MODULES: Final = (__name__, "pylon.app", declaration.__module__)
