"""Random policies over random rows: the three targets and the oracle never disagree."""

from __future__ import annotations

import asyncio
import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pylon.identity import ADMIN, Identity
from pylon.policy.check import check
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.lookup import Lookup, Remembering
from pylon.policy.syntax import format_expr, parse
from pylon.schema.model import CallableSpec, Manifest, PolicySpec
from tests.policy.oracle import Oracle
from tests.policy.test_syntax import attempt
from tests.policy.worlds import (
    Draw,
    Row,
    Table,
    World,
    effort,
    engine_of,
    entities,
    exprs_of,
    gathered,
    other_entities,
    pools,
    worlds,
)


def table_of(world: World) -> Table:
    table = Table(world.entity, world.rows)
    table.add_other(world.other, world.others)
    return table


def oracle_of(world: World, identity: Identity, row: Row, stored: Row | None = None) -> Oracle:
    kinds = (world.floats, world.others, world.folded, world.times)
    return Oracle(identity, row, stored or {}, *kinds)


def rule_of(world: World, table: Table) -> Rule:
    engine = engine_of(world.entity, world.expr, others=(world.other,), read=table.fetch)
    return engine.entity("Thing").read


def passed(rule: Rule, identity: Identity, rows: list[Row], lookup: Lookup) -> set[int]:
    """The positions of the rows that pass once everything they need is gathered in one go."""
    gathered(lookup, rule, identity, rows)
    verdicts = [rule.allows(identity, row, lookup=lookup) for row in rows]
    assert all(type(verdict) is bool for verdict in verdicts)
    return {number for number, verdict in enumerate(verdicts) if verdict}


@effort(120)
@given(worlds())
def test_predicate_sql_and_oracle_agree_on_every_row(world: World) -> None:
    others = {"Other": world.other}
    assert check(world.expr, entity=world.entity, slot="read", entities=others) == []
    table = table_of(world)
    rule = rule_of(world, table)
    for identity in world.identities:
        meant = {
            number
            for number, row in enumerate(world.rows)
            if oracle_of(world, identity, row).holds(world.expr)
        }
        allowed = passed(rule, identity, world.rows, Lookup(table.fetch))
        remembering = Remembering(table.fetch)
        asyncio.run(remembering.remember([rule], identity))
        remembered = passed(rule, identity, world.rows, remembering)
        where = rule.where(identity)
        gathering = rule.where(identity, gathers=True)
        assert allowed == meant
        assert remembered == meant
        assert table.numbers(where) == meant, where
        assert table.numbers(gathering) == meant, gathering
        assert rule.is_hopeless(identity) == where.never
        if where.never:
            assert not meant
        if where.sql is None:
            assert len(meant) == len(world.rows)
    assert table.numbers(rule.where(ADMIN)) == set(range(len(world.rows)))


@effort(60)
@given(worlds())
def test_selectors_find_whoever_passes_and_equal_keys_pass_alike(world: World) -> None:
    table = table_of(world)
    rule = rule_of(world, table)
    verdicts: dict[object, set[int]] = {}
    for identity in world.identities:
        allowed = passed(rule, identity, world.rows, Lookup(table.fetch))
        assert verdicts.setdefault(rule.audience.key(identity), allowed) == allowed
        if rule.audience.selectors is None:
            continue
        for number, row in enumerate(world.rows):
            matches = [
                selector.value(identity) is not None
                and selector.value(identity) == row[selector.field]
                for selector in rule.audience.selectors
            ]
            assert any(matches) or number not in allowed


@effort(60)
@given(worlds())
def test_only_the_named_fields_and_attributes_decide(world: World) -> None:
    table = table_of(world)
    rule = rule_of(world, table)
    if not rule.audience.attributes:
        assert {rule.audience.key(identity) for identity in world.identities} == {()}
    for identity in world.identities:
        asked = [
            {name: value for name, value in row.items() if name in rule.fields}
            for row in world.rows
        ]
        assert passed(rule, identity, asked, Lookup(table.fetch)) == passed(
            rule, identity, world.rows, Lookup(table.fetch)
        )


PIECES = (
    *("auth.userId", "data.id", "data.nope", "input.a", "existing.id", "id", "in", "null", "true"),
    *("3", "-1.5", '"x"', "'", "\\", "&&", "||", "!", "==", "!=", "<", "(", ")", "[", "]", ","),
    *("exists(Other, ", "exists(", "auth.roles", 'auth.hasRole("a")', "\ud800", "\0", "é"),
)
_WORDS = re.compile(r"\w[\w.]*|\s+|\"[^\"]*\"|&&|\|\||[!=<>]=|.", re.DOTALL)


@st.composite
def mutants(draw: Draw) -> tuple[World, str]:
    """A policy's text with some of its words changed, lost, doubled or moved."""
    world = draw(worlds())
    words = _WORDS.findall(format_expr(world.expr))
    random = Random(draw(st.integers(0, 2**32)))
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(words) + 1)
        piece = random.choice((*PIECES, *words))
        words[at : at + random.randrange(3)] = [piece] * random.randrange(3)
    return world, "".join(words)


@effort(120)
@given(mutants())
def test_mutants_are_refused_or_mean_one_thing(mutant: tuple[World, str]) -> None:
    world, text = mutant
    tree, mistake = attempt(text)
    assert mistake is None or 0 <= mistake.offset <= len(text)
    table = table_of(world)
    engine = engine_of(world.entity, text, others=(world.other,), read=table.fetch)
    rule = engine.entity("Thing").read
    for identity in world.identities:
        allowed = passed(rule, identity, world.rows, Lookup(table.fetch))
        for gathers in (False, True):
            assert table.numbers(rule.where(identity, gathers=gathers)) == allowed
        if engine.problems or not text:
            assert not allowed, "what is not understood, or not there, is open to nobody"
        else:
            assert tree is not None
            meant = {
                number
                for number, row in enumerate(world.rows)
                if oracle_of(world, identity, row).holds(tree)
            }
            assert allowed == meant


@st.composite
def updates(draw: Draw) -> tuple[World, World]:
    entity, other = draw(entities), draw(other_entities)
    exprs = [
        draw(exprs_of(entity, update=True)),
        draw(exprs_of(entity, update=True, other=other)),
    ]
    pool = draw(pools)
    rows = [pool.row(entity) for _ in range(5)]
    callers = [pool.identity() for _ in range(4)]
    others = [pool.row(other) for _ in range(3)]
    first, second = (
        World(entity=entity, expr=expr, rows=rows, identities=callers, other=other, others=others)
        for expr in exprs
    )
    return first, second


@effort(60)
@given(updates())
def test_update_rules_see_both_rows_and_several_policies_must_all_hold(
    both: tuple[World, World],
) -> None:
    first, second = both
    table = table_of(first)
    engine = engine_of(
        first.entity, first.expr, second.expr, others=(first.other,), read=table.fetch
    )
    rule = engine.entity("Thing").update
    for identity in first.identities:
        lookup = Lookup(table.fetch)
        for stored in first.rows:
            gathered(lookup, rule, identity, first.rows, stored)
            for merged in first.rows:
                oracle = oracle_of(first, identity, merged, stored)
                verdicts = [oracle.holds(first.expr), oracle.holds(second.expr)]
                assert rule.allows(identity, merged, stored, lookup) == all(verdicts)
                denied = "p0" if not verdicts[0] else "p1" if not verdicts[1] else None
                assert rule.denied_by(identity, merged, stored, lookup) == denied
        asyncio.run(lookup.gather(rule, identity, [(row, row) for row in first.rows]))
        assert table.numbers(rule.where(identity)) == {
            number
            for number, row in enumerate(first.rows)
            if rule.allows(identity, row, row, lookup)
        }


_SCALARS = st.sampled_from((None, True, False, 0, 1, 3, 1.0, 0.5, "", "a", "3", "1.0"))
_INPUTS = st.dictionaries(
    st.sampled_from(("a", "b")), _SCALARS | st.dictionaries(st.just("a"), _SCALARS), max_size=2
)
_SIDES = ("input.a", "input.b", "input.a.a", "auth.userId", "auth.isGuest")
_RIGHTS = ("null", "true", "false", "3", "0.5", '"3"', '"a"', '"1.0"', "(!input.b)")


@effort(150)
@given(
    left=st.sampled_from(_SIDES[:3]),
    op=st.sampled_from(("==", "!=", "<", "<=", ">", ">=")),
    right=st.sampled_from((*_SIDES, *_RIGHTS)),
    turned=st.booleans(),
    body=_INPUTS,
    identity=st.builds(Identity, user_id=st.sampled_from((None, "a", "3")), is_guest=st.booleans()),
)
def test_actions_judge_inputs_of_any_kind(
    *, left: str, op: str, right: str, turned: bool, body: dict[str, object], identity: Identity
) -> None:
    text = f"{right} {op} {left}" if turned else f"{left} {op} {right}"
    policy = PolicySpec(name="p", action="go", allow=text)
    manifest = Manifest(
        name="app", version="1", actions=(CallableSpec(name="go"),), policies=(policy,)
    )
    engine = PolicyEngine(manifest, open_by_default=False)
    expected = not engine.problems and Oracle(identity, body, {}, frozenset()).holds(parse(text))
    assert engine.action("go").allows(identity, body) == expected
