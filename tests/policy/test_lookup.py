"""What is fetched for `exists`, when, in how many statements, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.lookup import Ask, Lookup, NotGathered, Remembering, gather
from pylon.schema.model import CallableSpec, EntitySpec, FieldSpec, Manifest, PolicySpec

ANN = Identity(user_id="ann")
BOB = Identity(user_id="bob")
MEMBER = "exists(Member, teamId == data.teamId && userId == auth.userId)"
OLDER = "exists(Member, age > data.age && userId == auth.userId)"
"""Which rows these are cannot be told beforehand."""


class Database:
    """Ann is a member of red and blue; counts what is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._connection = apsw.Connection(":memory:")
        self._connection.execute("CREATE TABLE Member (id, teamId, userId, age)")
        for values in (("1", "red", "ann", 40), ("2", "blue", "ann", 20), ("3", None, "ann", 1)):
            self._connection.execute("INSERT INTO Member VALUES (?, ?, ?, ?)", values)

    async def fetch(
        self, sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        return self._connection.execute(sql, params).fetchall()


def engine(*texts: str, database: Database) -> PolicyEngine:
    def text(name: str) -> FieldSpec:
        return FieldSpec(name=name, type="string", optional=True)

    age = FieldSpec(name="age", type="int", optional=True)
    manifest = Manifest(
        name="app",
        version="1",
        entities=(
            EntitySpec(name="Doc", fields=(text("teamId"), text("ownerId"), age)),
            EntitySpec(name="Member", fields=(text("teamId"), text("userId"), age)),
        ),
        actions=(CallableSpec(name="go"),),
        policies=(
            *(PolicySpec(name=f"p{n}", entity="Doc", allow=each) for n, each in enumerate(texts)),
            PolicySpec(
                name="go",
                action="go",
                allow="exists(Member, teamId == input.team && userId == auth.userId)",
            ),
        ),
    )
    return PolicyEngine(manifest, open_by_default=False, read=database.fetch)


def rule_of(*texts: str, database: Database) -> Rule:
    return engine(*texts, database=database).entity("Doc").read


def docs(*teams: str | None) -> list[tuple[dict[str, object], None]]:
    return [({"teamId": team, "ownerId": "ann", "age": 30}, None) for team in teams]


async def test_many_rows_are_one_statement_and_equal_ones_are_asked_once() -> None:
    database = Database()
    rule, lookup = rule_of(MEMBER, database=database), Lookup(database.fetch)
    rows = docs("red", "green", "red", None, "blue")
    await lookup.gather(rule, ANN, rows)
    assert [rule.allows(ANN, row, None, lookup) for row, _ in rows] == [
        *(True, False, True, False, True)
    ]
    assert len(database.asked) == 1
    assert database.asked[0].count("EXISTS") == 4


@pytest.mark.parametrize(
    ("looks", "values", "sizes"),
    [(3, 99, [3, 3, 3]), (4, 99, [4, 4, 1]), (9, 5, [2, 2, 2, 2, 1]), (9, 1, [1] * 9)],
)
async def test_more_looks_than_fit_are_several_statements(
    looks: int, values: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POLICY_STATEMENT_LOOKS", looks)
    monkeypatch.setattr(limits, "POLICY_STATEMENT_VALUES_MAX", values)
    database = Database()
    rule, lookup = rule_of(MEMBER, database=database), Lookup(database.fetch)
    rows = docs(*(f"team {n}" for n in range(7)), "red", "blue")
    await lookup.gather(rule, ANN, rows)
    assert [rule.allows(ANN, row, None, lookup) for row, _ in rows] == [False] * 7 + [True] * 2
    assert [sql.count("EXISTS") for sql in database.asked] == sizes


async def test_nothing_is_asked_where_other_conditions_decide() -> None:
    database = Database()
    rule = rule_of(f"auth.userId == data.ownerId || {MEMBER}", "data.age < 50", database=database)
    lookup = Lookup(database.fetch)
    await lookup.gather(rule, ANN, docs("red"))
    await lookup.gather(rule, ADMIN, docs("red"))
    await lookup.gather(rule, ANONYMOUS, docs("red"))
    assert database.asked == []
    await lookup.gather(rule, BOB, docs("red"))
    assert len(database.asked) == 1


async def test_asking_before_gathering_is_a_mistake_that_shows() -> None:
    database = Database()
    rule, lookup = rule_of(MEMBER, database=database), Lookup(database.fetch)
    (red, _), (blue, _) = docs("red", "blue")
    with pytest.raises(NotGathered):
        rule.allows(ANN, red)
    await lookup.gather(rule, ANN, [(red, None)])
    assert rule.allows(ANN, red, None, lookup)
    with pytest.raises(NotGathered):
        rule.allows(ANN, blue, None, lookup)
    await lookup.gather(rule, ANN, [(blue, None)])
    with pytest.raises(NotGathered):
        rule.allows(ANN, red, None, lookup)


async def test_a_policy_that_denies_everybody_is_named_after_those_before_it() -> None:
    database = Database()
    rule, lookup = rule_of(MEMBER, "1 == 2", database=database), Lookup(database.fetch)
    rows = docs("red", "green")
    await lookup.gather(rule, ANN, rows)
    assert [rule.denied_by(ANN, row, None, lookup) for row, _ in rows] == ["p1", "p0"]


async def test_a_value_that_no_schema_promises_denies() -> None:
    database = Database()
    rule = rule_of(f"{MEMBER} || {OLDER}", database=database)
    lookup = Lookup(database.fetch)
    odd: dict[str, object] = {"teamId": ["red"], "age": {}}
    await lookup.gather(rule, ANN, [(odd, None)])
    assert not rule.allows(ANN, odd, None, lookup)


async def test_what_a_caller_belongs_to_is_fetched_once() -> None:
    database = Database()
    app = engine(MEMBER, database=database)
    rules, lookup = app.entity("Doc"), app.remembering()
    assert not lookup.is_ready(rules.read)
    await lookup.remember([rules.read], ANN)
    assert lookup.is_ready(rules.read)
    rows = docs("red", "green", None)
    # A rule with the same `exists` finds it there already.
    await gather([Ask(lookup, rule, ANN, rows) for rule in (rules.read, rules.update)])
    for rule in (rules.read, rules.update):
        assert [rule.allows(ANN, row, row, lookup) for row, _ in rows] == [True, False, False]
    assert len(database.asked) == 1


@pytest.mark.parametrize("text", [MEMBER, OLDER])
async def test_what_is_not_kept_is_asked_for_each_moment(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pylon.policy.membership.POLICY_MEMBERS_REMEMBERED_MAX", 1)
    database = Database()
    rule, lookup = rule_of(text, database=database), Remembering(database.fetch)
    await lookup.remember([rule], ANN)
    assert not lookup.is_ready(rule)
    before = len(database.asked)
    for _ in range(2):
        await lookup.gather(rule, ANN, docs("red", "blue"))
        assert rule.allows(ANN, docs("blue")[0][0], None, lookup)
    assert len(database.asked) == before + 2


async def test_lookups_of_many_callers_share_statements() -> None:
    database = Database()
    rule = rule_of(OLDER, database=database)
    callers = [Identity(user_id=f"user {n}") for n in range(20)] + [ANN]
    asks = [Ask(Remembering(database.fetch), rule, each, docs("red")) for each in callers]
    await gather(asks)
    passed = [rule.allows(ask.identity, docs("red")[0][0], None, ask.lookup) for ask in asks]
    assert passed == [False] * 20 + [True]
    assert len(database.asked) == 1


async def test_actions_ask_the_latest_commit() -> None:
    go = engine(database=Database()).action("go")
    assert await go.passes(ANN, {"team": "red"})
    assert not await go.passes(ANN, {"team": "green"})
    assert not await go.passes(ANN, {"team": 3})
    assert not await go.passes(ANONYMOUS, {"team": "red"})
    assert await go.passes(ADMIN, {})


async def test_one_unit_asks_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_UNIT_LOOKS_MAX", 4)
    database = Database()
    rule, of_unit = rule_of(MEMBER, database=database), Lookup(database.fetch, is_of_unit=True)
    await of_unit.gather(rule, ANN, docs("red", "blue", "green"))
    await of_unit.gather(rule, ANN, docs("red"))
    with pytest.raises(PylonError, match="too much of other rows") as refused:
        await of_unit.gather(rule, ANN, docs("red"))
    assert (refused.value.status, refused.value.code) == (503, "QUERY_TIMEOUT")
    free = Lookup(database.fetch)
    await free.gather(rule, ANN, docs(*map(str, range(9))))


async def test_one_unit_asks_only_so_long() -> None:
    given: list[float | None] = []

    async def fetch(
        sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        given.append(seconds)
        raise PylonError(503, "QUERY_TIMEOUT", "The database's own words.")

    rule = rule_of(MEMBER, database=Database())
    of_unit = Lookup(fetch, is_of_unit=True)
    with pytest.raises(PylonError, match="An exists") as refused:
        await of_unit.gather(rule, ANN, docs("red"))
    assert refused.value.hint is not None
    assert "index" in refused.value.hint
    assert given == [limits.POLICY_LOOK_SECONDS_MAX]
    of_unit._seconds_left = 0.0
    with pytest.raises(PylonError, match="too much of other rows"):
        await of_unit.gather(rule, ANN, docs("red"))
    assert len(given) == 1
