"""Why a policy said no, in a sentence or two, for whoever develops the app.

Names the policy, the parts of its rule that failed, and the values that these saw. For dev mode
only: in production a refusal says nothing, and the log has the name of the policy. The tree with
every part is `pylon policy explain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pylon.codec import encode
from pylon.identity import Identity
from pylon.policy.explain import Case, Part, explain
from pylon.policy.lookup import UNCONNECTED, Fetch, Lookup
from pylon.policy.nodes import And, Expr, Not, Or
from pylon.policy.slots import Slot, expression
from pylon.policy.syntax import parse
from pylon.policy.tokens import PolicySyntaxError
from pylon.schema.model import EntitySpec, Manifest, PolicySpec

VALUE_CHARACTERS_MAX: Final = 100
"""Of a value in such a sentence; it is for eyes."""

SENTENCE_CHARACTERS_MAX: Final = 2_000
"""Of all of it."""

Row = Mapping[str, Any]

_NAMES: Final = ("auth", "data", "existing", "input")


class Denials:
    """Explains the refusals of one app."""

    def __init__(self, manifest: Manifest, read: Fetch = UNCONNECTED) -> None:
        """`read` reads the latest commit, for what rules of actions ask of rows."""
        self._manifest = manifest
        self._read = read

    async def why(
        self,
        entity: str,
        slot: Slot,
        identity: Identity,
        data: Row,
        existing: Row | None,
        fetch: Fetch,
    ) -> str:
        """Why the caller may not do this with this row. `existing` is the stored row of an update;
        `fetch` reads what the rule asks of other rows."""
        case = self._case(entity, slot, identity, data, existing, Lookup(fetch))
        return await self._sentence(entity, case)

    def why_none(self, entity: str, slot: Slot, identity: Identity) -> str:
        """Why the caller could do this with no row whatever, by what is known of them."""
        case = self._case(entity, slot, identity, {}, None, _NoRows(UNCONNECTED))
        return _at_once(self._sentence(entity, case, ("auth",)))

    async def why_action(self, action: str, identity: Identity, given: Row) -> str:
        """Why the caller may not call an action with this input."""
        case = self._case(None, "action", identity, given, None, Lookup(self._read))
        return await self._sentence(action, case)

    def _case(
        self,
        entity: str | None,
        slot: Slot,
        identity: Identity,
        data: Row,
        existing: Row | None,
        lookup: Lookup,
    ) -> Case:
        entities = self._manifest.entities_by_name
        return Case(
            entity=None if entity is None else entities[entity],
            slot=slot,
            identity=identity,
            data=data,
            existing=existing or {},
            lookup=lookup,
            entities=entities,
        )

    async def _sentence(self, target: str, case: Case, names: Sequence[str] = _NAMES) -> str:
        """What each policy that says no has against it."""
        said: list[str] = []
        for policy in self._manifest.policies:
            if target != (policy.action if case.slot == "action" else policy.entity):
                continue
            chosen = expression(policy, case.slot)
            if chosen is not None:
                said += await _against(policy, *chosen, case, names)
        if not said:
            return f"No policy of {target} says who may {_DOES[case.slot]} it."
        if case.identity.user_id is None:
            said.append("The caller is not signed in.")
            said.append(case.identity.token_fault)
        return " ".join(filter(None, said))[:SENTENCE_CHARACTERS_MAX]


_DOES: Final[dict[Slot, str]] = {
    "read": "read",
    "insert": "insert",
    "update": "update",
    "delete": "delete",
    "action": "call",
}


async def _against(
    policy: PolicySpec, key: str, text: str, case: Case, names: Sequence[str]
) -> list[str]:
    """The sentence of one policy; none where it holds."""
    try:
        rule = parse(text)
    except PolicySyntaxError:
        return [f'Policy "{policy.name}" ({key}) has a mistake, so it lets nobody pass.']
    part = await explain(rule, case)
    if part.holds:
        return []
    failed = "; ".join(_told(each, case.entity, names) for each in _failed(rule, part))
    return [f'Policy "{policy.name}" ({key}) says no to this {case.slot}: {failed}.']


def _failed(rule: Expr, part: Part) -> Iterator[Part]:
    """The parts because of which the whole does not hold."""
    match rule:
        case And() | Or():
            for operand, inner in zip(rule.operands, part.parts, strict=True):
                if not inner.holds:
                    yield from _failed(operand, inner)
        case Not():
            values = dict(_values(part.parts))
            yield Part(text=part.text, holds=False, values=values)
        case _:
            yield part


def _values(parts: Iterable[Part]) -> Iterator[tuple[str, object]]:
    for part in parts:
        yield from part.values.items()
        yield from _values(part.parts)


def _told(part: Part, entity: EntitySpec | None, names: Sequence[str]) -> str:
    """The text of a part with the values that it saw, but for private ones."""
    seen = [
        f"{name} is {_shown(name, value, entity)}"
        for name, value in part.values.items()
        if name.partition(".")[0] in names
    ]
    return f"`{part.text}` does not hold" + (f", as {' and '.join(seen)}" if seen else "")


def _shown(name: str, value: object, entity: EntitySpec | None) -> str:
    root, _, field = name.partition(".")
    spec = None if entity is None or root == "auth" else entity.fields_by_name.get(field)
    if spec is not None and spec.is_private:
        return "private"
    text = encode(value).decode()
    if len(text) > VALUE_CHARACTERS_MAX:
        return f"{text[:VALUE_CHARACTERS_MAX]}..."
    return text


class _NoRows(Lookup):
    """A lookup for whom no row exists, without asking anybody."""

    async def _run(self, sql: str, params: Sequence[Any], looks: int) -> list[tuple[bool, ...]]:
        return [(False,) * looks]


def _at_once(work: Any) -> str:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        result: str = done.value
        return result
    raise AssertionError("it waits for something")
