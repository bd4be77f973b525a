"""The policies of an app, compiled: which caller may do what with which row.

`PolicyEngine` is made once per manifest. Its rules answer three questions: does this row pass
(`allows`), which rows pass (`where`, for SQL), who can pass at all (`audience`). Administrators
pass every rule, here and not in the expressions. Called by `data/`, `sync/` and `api/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, Final

import msgspec
from msgspec import Struct

from pylon.identity import Identity
from pylon.limits import POLICY_SHAPES_CACHED_MAX
from pylon.policy.audience import Audience, CallerShape, bound_source
from pylon.policy.check import check_manifest
from pylon.policy.formula import (
    FALSE,
    TRUE,
    Column,
    Const,
    Exists,
    Formula,
    all_of,
    atoms,
    memberships,
)
from pylon.policy.lookup import NOTHING, UNCONNECTED, Fetch, Lookup, Remembering
from pylon.policy.lower import PolicyProblem
from pylon.policy.membership import Membership, Watch, watch
from pylon.policy.pinned import field_of, pinned_by
from pylon.policy.predicate import Predicate, compile_predicate, compile_tuple
from pylon.policy.slots import ENTITY_SLOTS, Slot, expression
from pylon.policy.sql import render
from pylon.policy.texts import formulas_of, texts_of
from pylon.schema.model import EntitySpec, Manifest, PolicySpec

NO_RULE: Final = "(no rule)"
"""What `denied_by` names where nothing but the want of a rule closes the door."""

_NO_ROW: Final[Mapping[str, object]] = {}


class Where(msgspec.Struct, frozen=True):
    """The rows of one entity that a caller may touch, as SQL over the table aliased `t`.

    `sql` None: every row. `never`: no row at all, whatever it holds (answer 403); `sql` is then
    a false condition, so that forgetting to look at `never` shows nothing.
    The text is meant for WHERE and under AND and OR, not under NOT.
    """

    sql: str | None
    params: tuple[str | int | float | None, ...] = ()
    never: bool = False


EVERY_ROW: Final = Where(None)


class Rule:
    """All policies of one entity for one operation; every one of them must hold.

    Without any, `open_by_default` decides. `membership` makes, or has already, what an `exists`
    asks: rules that look for the same share it.
    """

    def __init__(
        self,
        policies: tuple[tuple[str, Formula], ...],
        *,
        open_by_default: bool,
        membership: Callable[[Exists], Membership] = Membership,
    ) -> None:
        self._policies = policies
        self._membership = membership
        self._formula = (
            all_of([formula for _, formula in policies]) if policies else Const(open_by_default)
        )
        self._compiled: dict[tuple[bool, tuple[Any, ...]], Callable[[Identity], Where]] = {}
        self._hopeless: dict[tuple[Any, ...], bool] = {}

    def allows(
        self,
        identity: Identity,
        data: Mapping[str, object] | None,
        existing: Mapping[str, object] | None = None,
        lookup: Lookup = NOTHING,
    ) -> bool:
        """Whether `identity` passes for the row `data`; without a row every field is null.

        `existing` is the stored row of an update, whose rule must pass twice: for the stored row
        (`allows(who, stored, stored)`) and for the result (`allows(who, merged, stored)`).
        Values are those of the schema: a bool field holds a bool. `lookup` answers `exists`: where
        the rule has `asked`, `lookup.gather` must have been awaited for these rows.
        """
        return identity.is_admin or self._predicate(
            identity, data or _NO_ROW, existing or _NO_ROW, lookup
        )

    def denied_by(
        self,
        identity: Identity,
        data: Mapping[str, object] | None,
        existing: Mapping[str, object] | None = None,
        lookup: Lookup = NOTHING,
    ) -> str | None:
        """The name of the first policy that says no, for logs and tools; None when none does."""
        if self.allows(identity, data, existing, lookup):
            return None
        for name, predicate in self._predicates:
            if not predicate(identity, data or _NO_ROW, existing or _NO_ROW, lookup):
                return name
        return NO_RULE

    def where(self, identity: Identity, *, gathers: bool = False) -> Where:
        """The rows for which `allows(identity, row, row)`, as SQL.

        The text depends on the caller's shape only (which conditions on the caller alone hold),
        so a rule has few texts and their statements stay prepared. `gathers` is for statements
        that look through many rows: they collect the caller's memberships once instead of asking
        for one at each row.
        """
        if identity.is_admin:
            return EVERY_ROW
        shape = self._shape.of(identity)
        bind = self._compiled.get((gathers, shape))
        if bind is None:
            bind = self._bind_for(shape, gathers=gathers)
        return bind(identity)

    def is_hopeless(self, identity: Identity) -> bool:
        """Whether no row whatever passes for the caller: `where(identity).never`, for writes, which
        have no use for the SQL."""
        if identity.is_admin:
            return False
        shape = self._shape.of(identity)
        hopeless = self._hopeless.get(shape)
        if hopeless is None:
            if len(self._hopeless) >= POLICY_SHAPES_CACHED_MAX:
                self._hopeless.clear()
            hopeless = self._hopeless[shape] = self.where(identity).never
        return hopeless

    def pinned(self, identity: Identity) -> str | None:
        """What the `pinned_field` holds in every row that passes for the caller; None where the
        rule does not say."""
        if identity.is_admin or self.pinned_field is None:
            return None
        rest = self._shape.settle(self._formula, self._shape.of(identity))
        selector = pinned_by(rest, self.pinned_field)
        return None if selector is None else selector.value(identity)

    @cached_property
    def pinned_field(self) -> str | None:
        """The field that holds a value of the caller wherever the rule lets one see a row; it does
        so for some callers at least."""
        return field_of(self._formula)

    @cached_property
    def audience(self) -> Audience:
        """Who can pass."""
        return Audience(self._formula, self._shape)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of the row that decide."""
        return frozenset(
            term.name
            for atom in atoms(self._formula)
            for term in atom.terms
            if isinstance(term, Column)
        )

    @cached_property
    def memberships(self) -> tuple[Exists, ...]:
        """Every `exists` of the rule: other rows that decide."""
        return tuple(dict.fromkeys(memberships(self._formula)))

    @cached_property
    def asked(self) -> tuple[Membership, ...]:
        """What is to be gathered before the rule is asked; empty for most rules."""
        nodes = [node for _, formula in self._policies for node in memberships(formula)]
        return tuple(map(self._membership, dict.fromkeys(nodes)))

    @property
    def constant(self) -> bool | None:
        """True: everybody passes for every row. False: only administrators. None: it depends."""
        return self._formula.value if isinstance(self._formula, Const) else None

    @cached_property
    def _predicate(self) -> Predicate:
        return compile_predicate(self._formula, self._membership)

    @cached_property
    def _predicates(self) -> tuple[tuple[str, Predicate], ...]:
        return tuple(
            (name, compile_predicate(formula, self._membership)) for name, formula in self._policies
        )

    @cached_property
    def _shape(self) -> CallerShape:
        return CallerShape(self._formula)

    def _bind_for(self, shape: tuple[Any, ...], *, gathers: bool) -> Callable[[Identity], Where]:
        bind = self._compile(shape, gathers=gathers)
        if len(self._compiled) >= POLICY_SHAPES_CACHED_MAX:
            self._compiled.clear()
        self._compiled[gathers, shape] = bind
        return bind

    def _compile(self, shape: tuple[Any, ...], *, gathers: bool) -> Callable[[Identity], Where]:
        rest = self._shape.settle(self._formula, shape)
        if rest == TRUE:
            return lambda identity: EVERY_ROW
        role_count = self._shape.role_count(shape)
        fragment = render(rest, role_count=role_count, gathers=gathers)
        if rest == FALSE:
            nothing = Where(fragment.sql, never=True)
            return lambda identity: nothing
        values = compile_tuple([bound_source(term) for term in fragment.terms])
        sql = fragment.sql
        return lambda identity: Where(sql, values(identity))


class ActionRule:
    """All policies of one action; every one of them must hold."""

    def __init__(
        self,
        policies: tuple[tuple[str, Formula], ...],
        *,
        open_by_default: bool,
        membership: Callable[[Exists], Membership] = Membership,
        read: Fetch = UNCONNECTED,
    ) -> None:
        self._rule = Rule(policies, open_by_default=open_by_default, membership=membership)
        self._read = read

    async def passes(
        self,
        identity: Identity,
        input: Mapping[str, object] | None,  # noqa: A002
    ) -> bool:
        """Whether `identity` may call the action with this input, as of the latest commit."""
        lookup = NOTHING
        if self._rule.asked:
            lookup = Lookup(self._read)
            await lookup.gather(self._rule, identity, [(input, None)])
        return self._rule.allows(identity, input, lookup=lookup)

    def allows(
        self,
        identity: Identity,
        input: Mapping[str, object] | None,  # noqa: A002
        lookup: Lookup = NOTHING,
    ) -> bool:
        """The same with what has been gathered."""
        return self._rule.allows(identity, input, lookup=lookup)

    def denied_by(
        self,
        identity: Identity,
        input: Mapping[str, object] | None,  # noqa: A002
        lookup: Lookup = NOTHING,
    ) -> str | None:
        """The name of the first policy that says no, or None."""
        return self._rule.denied_by(identity, input, lookup=lookup)


class EntityPolicies(Struct, frozen=True, kw_only=True):
    """The four rules of an entity."""

    read: Rule
    insert: Rule
    update: Rule
    delete: Rule


class PolicyEngine:
    """Every rule of a manifest.

    `open_by_default` (dev) leaves open what no policy mentions; in production it is closed to all
    but administrators. `undeclared` lists these places as (entity or action, slot), for a warning.
    `problems` are the mistakes found; a policy with one denies everybody but administrators.
    `read` runs the short reads that `exists` needs, over the latest commit (`Store.read`).
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        open_by_default: bool,
        read: Fetch = UNCONNECTED,
    ) -> None:
        self._manifest = manifest
        self._read = read
        self._membership = cache(Membership)
        self._open_by_default = open_by_default
        self.problems: tuple[PolicyProblem, ...] = tuple(check_manifest(manifest))
        undeclared: list[tuple[str, Slot]] = []
        self._entities = {
            entity.name: self._entity_policies(entity, undeclared) for entity in manifest.entities
        }
        self._actions = {
            action.name: self._action_rule(action.name, undeclared) for action in manifest.actions
        }
        self.undeclared: tuple[tuple[str, Slot], ...] = tuple(undeclared)

    def entity(self, name: str) -> EntityPolicies:
        """The rules of an entity. Raises `KeyError` for a name that the manifest lacks."""
        return self._entities[name]

    def action(self, name: str) -> ActionRule:
        """The rule of a declared action. Raises `KeyError` for a name that the manifest lacks."""
        return self._actions[name]

    @property
    def read_rules(self) -> tuple[Rule, ...]:
        """Who sees what, an entity each."""
        return tuple(policies.read for policies in self._entities.values())

    @cached_property
    def watches(self) -> Mapping[str, tuple[Watch, ...]]:
        """By entity, whom its changed rows concern because a read rule looks for them."""
        found: dict[str, dict[Watch, None]] = {}
        for rule in self.read_rules:
            for node in rule.memberships:
                found.setdefault(node.entity, {})[watch(node)] = None
        return {entity: tuple(watches) for entity, watches in found.items()}

    def lookup(self) -> Lookup:
        """A lookup over the latest commit, for the rows of one moment."""
        return Lookup(self._read)

    def remembering(self) -> Remembering:
        """The same for one audience, to be kept until a row that concerns it changes."""
        return Remembering(self._read)

    def _entity_policies(
        self, entity: EntitySpec, undeclared: list[tuple[str, Slot]]
    ) -> EntityPolicies:
        policies = [policy for policy in self._manifest.policies if policy.entity == entity.name]
        rules: dict[str, Rule] = {}
        for slot in ENTITY_SLOTS:
            formulas = formulas_of(self._manifest, entity, slot, policies)
            if not formulas:
                undeclared.append((entity.name, slot))
            rules[slot] = Rule(
                formulas,
                open_by_default=self._open_by_default,
                membership=self._membership,
            )
        return EntityPolicies(**rules)

    def _action_rule(self, name: str, undeclared: list[tuple[str, Slot]]) -> ActionRule:
        policies = [policy for policy in self._manifest.policies if policy.action == name]
        if not policies:
            undeclared.append((name, "action"))
        return ActionRule(
            tuple((policy.name, self._action_formula(policy)) for policy in policies),
            open_by_default=self._open_by_default,
            membership=self._membership,
            read=self._read,
        )

    def _action_formula(self, policy: PolicySpec) -> Formula:
        """An action's policy without `allow` denies (spec 05 section 5.5)."""
        chosen = expression(policy, "action")
        return FALSE if chosen is None else self._formula_of(chosen[1], None, "action")

    def _formula_of(self, text: str, entity: EntitySpec | None, slot: Slot) -> Formula:
        """The formula of a text, or "never" where anything is wrong with it."""
        return texts_of(self._manifest).lowered(text, entity, slot)[0]
