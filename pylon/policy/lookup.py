"""What the `exists` of rules ask of the database, fetched before the rules are asked.

`gather` fetches, with `await` and in as few statements as it can, what some rules need to judge
some rows; after that `rule.allows` and `rule.denied_by` answer at once from the `Lookup`. Where
other conditions of a rule decide, nothing is fetched. `Lookup` is for the rows of one moment (a
write, a pull, an action), `Remembering` keeps what one caller belongs to (the live hub). Callers
look at `rule.asked` first, so that a rule without `exists` costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from math import inf
from time import perf_counter
from typing import Any, Final, Protocol

from msgspec import Struct

from pylon import limits
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.policy.membership import Look, Membership
from pylon.policy.predicate import Row

_NO_ROW: Final[Row] = {}


class Fetch(Protocol):
    """A read of the database: `Store.read` or `Tx.fetch`."""

    def __call__(
        self, sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
    ) -> Awaitable[Sequence[Sequence[Any]]]:
        """The rows; 503 `QUERY_TIMEOUT` where they take longer than `seconds`."""
        ...


class Judge(Protocol):
    """What `gather` needs of a rule."""

    @property
    def asked(self) -> tuple[Membership, ...]:
        """Every `exists` of it."""
        ...

    def denied_by(
        self, identity: Identity, data: Row | None, existing: Row | None, lookup: Lookup
    ) -> str | None:
        """See `Rule.denied_by`, which asks whatever `Rule.allows` does, and maybe more."""
        ...


class NotGathered(Exception):
    """A rule was asked for a row before `gather` was: a mistake of whoever asked."""


class Lookup:
    """What has been gathered for some rows. Each `gather` forgets what was there before."""

    __slots__ = ("_answers", "_fetch", "_looks_left", "_seconds_left")

    def __init__(self, fetch: Fetch, *, is_of_unit: bool = False) -> None:
        """`is_of_unit`: everybody's writes wait while it asks, so all that it ever asks is bounded
        by `limits.POLICY_UNIT_LOOKS_MAX` and `limits.POLICY_UNIT_SECONDS_MAX`."""
        self._fetch = fetch
        self._answers: dict[Look, bool] = {}
        self._looks_left: float = limits.POLICY_UNIT_LOOKS_MAX if is_of_unit else inf
        self._seconds_left = limits.POLICY_UNIT_SECONDS_MAX if is_of_unit else inf

    async def gather(
        self, rule: Judge, identity: Identity, rows: Iterable[tuple[Row | None, Row | None]]
    ) -> None:
        """Fetch what `rule` needs to judge these pairs of row and stored row (`Rule.allows`).

        503 `QUERY_TIMEOUT` where a look takes longer than `limits.POLICY_LOOK_SECONDS_MAX`, or a
        unit has asked too much.
        """
        await gather([Ask(self, rule, identity, rows)])

    def holds(self, asked: Membership, identity: Identity, data: Row, existing: Row) -> bool:
        """Whether there is such a row; called by the predicates. Raises `NotGathered`."""
        look = asked.look(identity, data, existing)
        if look is None:
            return False
        answer = self._answers.get(look)
        if answer is None:
            raise NotGathered
        return answer

    async def remember(self, rules: Iterable[Judge], identity: Identity) -> None:
        """Fetch beforehand what can be kept for these rules: nothing here."""

    def is_ready(self, rule: Judge) -> bool:
        """Whether it can answer for every row there may be."""
        return not rule.asked

    # --- for `gather` ------------------------------------------------------------------------

    def _needs(self, ask: Ask) -> list[tuple[Row, Row]]:
        """The rows on which the rule cannot decide yet."""
        needed = []
        for data, existing in ask.rows:
            try:
                ask.rule.denied_by(ask.identity, data, existing, self)
            except NotGathered:
                needed.append((data or _NO_ROW, existing or _NO_ROW))
        return needed

    def _keeps(self, _asked: Membership) -> bool:
        return False

    async def _run(self, sql: str, params: Sequence[Any], looks: int) -> Sequence[Sequence[Any]]:
        """One statement with so many looks, within what is left."""
        self._looks_left -= looks
        seconds = min(limits.POLICY_LOOK_SECONDS_MAX * looks, self._seconds_left)
        if self._looks_left < 0 or seconds <= 0:
            raise _too_much()
        began = perf_counter()
        try:
            return await self._fetch(sql, params, seconds=seconds)
        except PylonError as error:
            if error.code != "QUERY_TIMEOUT":
                raise
            raise _too_long() from error
        finally:
            self._seconds_left -= perf_counter() - began


class Remembering(Lookup):
    """Answers for one caller (or for callers of one audience key), whose keys of an `exists` it
    fetches once. Whoever keeps it drops it when a row that concerns the caller changes."""

    __slots__ = ("_members", "_ready")

    def __init__(self, fetch: Fetch) -> None:
        super().__init__(fetch)
        self._members: dict[Membership, frozenset[Any] | None] = {}
        """None: they cannot be told beforehand, or are too many to keep."""
        self._ready: set[Judge] = set()

    async def remember(self, rules: Iterable[Judge], identity: Identity) -> None:
        for rule in rules:
            for asked in rule.asked:
                if asked not in self._members:
                    query = asked.members_query(identity)
                    rows = () if query is None else await self._run(*query, looks=1)
                    self._members[asked] = asked.members(rows)
            if all(map(self._keeps, rule.asked)):
                self._ready.add(rule)

    def is_ready(self, rule: Judge) -> bool:
        return not rule.asked or rule in self._ready

    def holds(self, asked: Membership, identity: Identity, data: Row, existing: Row) -> bool:
        members = self._members.get(asked)
        if members is None:
            return super().holds(asked, identity, data, existing)
        return asked.key(identity, data, existing) in members

    def _keeps(self, asked: Membership) -> bool:
        return self._members.get(asked) is not None


class Ask(Struct, frozen=True):
    """A rule that is about to judge pairs of row and stored row for a caller."""

    lookup: Lookup
    rule: Judge
    identity: Identity
    rows: Iterable[tuple[Row | None, Row | None]]


async def gather(asks: Sequence[Ask]) -> None:
    """Fetch what these rules need; all lookups are of one database.

    What a lookup does not remember is asked in statements of `limits.POLICY_STATEMENT_LOOKS` looks.
    Afterwards the lookups answer for exactly these rows, and whatever they remember.
    """
    answers: dict[Look, bool] = {}
    for ask in asks:
        ask.lookup._answers = answers
    looks: dict[Look, None] = {}
    for ask in asks:
        looks.update(dict.fromkeys(_looks(ask, ask.lookup._needs(ask))))
    for part in _parts(looks):
        sql = "SELECT " + ", ".join(f"EXISTS ({text})" for text, _ in part)
        params = [value for _, values in part for value in values]
        found = await asks[0].lookup._run(sql, params, looks=len(part))
        answers.update(zip(part, map(bool, found[0]), strict=True))


def _looks(ask: Ask, rows: Iterable[tuple[Row, Row]]) -> Iterator[Look]:
    asked = [each for each in ask.rule.asked if not ask.lookup._keeps(each)]
    for data, existing in rows:
        for each in asked:
            look = each.look(ask.identity, data, existing)
            if look is not None and _is_hashable(look):
                yield look


def _is_hashable(look: Look) -> bool:
    """Whether its values are scalars; the predicate denies a row with others in it."""
    try:
        hash(look)
    except TypeError:
        return False
    return True


def _parts(looks: Iterable[Look]) -> Iterator[list[Look]]:
    """Cut into statements, each with so few looks and values that a database takes it."""
    part: list[Look] = []
    bound = 0
    for look in looks:
        is_full = len(part) == limits.POLICY_STATEMENT_LOOKS
        if part and (is_full or bound + len(look[1]) > limits.POLICY_STATEMENT_VALUES_MAX):
            yield part
            part, bound = [], 0
        part.append(look)
        bound += len(look[1])
    if part:
        yield part


def _too_long() -> PylonError:
    return PylonError(
        503,
        "QUERY_TIMEOUT",
        "An exists() of a policy took too long.",
        "Give the fields that it compares an index; `pylon policy check` names them.",
    )


def _too_much() -> PylonError:
    return PylonError(
        503,
        "QUERY_TIMEOUT",
        "The policies ask too much of other rows for one write.",
        "Send fewer operations at a time, or give the fields that exists() compares an index.",
    )


async def _unconnected(
    sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
) -> Sequence[Sequence[Any]]:
    raise RuntimeError("an exists() needs a database: give the engine a read")


UNCONNECTED: Final[Fetch] = _unconnected
NOTHING: Final = Lookup(UNCONNECTED)
"""A lookup for rules that ask nothing; any other rule raises `NotGathered`."""
