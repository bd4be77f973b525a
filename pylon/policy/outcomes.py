"""Rules that nobody can pass, and rules that everybody passes though they ask for something.

Both are what is written and seldom what is meant, so they are warnings; `advice` tells them. Only
what is certain is told (`reach`), and not of a rule whose text is plainly `true` or `false`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from pylon import limits
from pylon.codec import encode
from pylon.policy.callers import Callers
from pylon.policy.formula import (
    FALSE,
    TRUE,
    Atom,
    Attribute,
    Column,
    Constant,
    Exists,
    Formula,
    Input,
    Member,
    Term,
    atoms,
    negate,
    specialise,
)
from pylon.policy.nodes import Call, Compare, Expr, In, ListOf, Literal, Not, Path
from pylon.policy.nodes import Exists as ExistsExpr
from pylon.policy.reach import Clash, as_stored, clash
from pylon.policy.slots import ENTITY_SLOTS, Slot, expression
from pylon.policy.syntax import parse
from pylon.policy.texts import texts_of
from pylon.schema.diagnostics import Diagnostic, warning
from pylon.schema.model import Manifest, PolicySpec

NEVER_TRUE: Final = "POLICY_NEVER_TRUE"
ALWAYS_TRUE: Final = "POLICY_ALWAYS_TRUE"

_MESSAGES: Final = {
    NEVER_TRUE: "nobody but administrators can pass, whatever the row holds",
    ALWAYS_TRUE: "everybody passes, also who is not signed in, whatever the row holds",
}
_ACTION_MESSAGES: Final = {
    NEVER_TRUE: "nobody but administrators can pass, whatever the input",
    ALWAYS_TRUE: "everybody passes, also who is not signed in, whatever the input",
}


class _Outcome(Struct, frozen=True, kw_only=True):
    """What a rule comes to for everybody, and why."""

    code: str
    hint: str


def outcomes(manifest: Manifest) -> Iterator[Diagnostic]:
    """The warnings about a manifest without mistakes, in its order: one for each text of a policy,
    with all operations of which it is true."""
    callers = Callers(manifest)
    for policy in manifest.policies:
        found: dict[tuple[str, _Outcome], list[Slot]] = {}
        for slot, key, text in _texts(policy):
            entity = manifest.entities_by_name.get(policy.entity or "")
            formula, problems = texts_of(manifest).lowered(
                text, None if slot == "action" else entity, slot
            )
            outcome = None if problems else _outcome(text, formula, callers, slot)
            if outcome is not None:
                found.setdefault((key, outcome), []).append(slot)
        for (key, outcome), slots in found.items():
            messages = _ACTION_MESSAGES if slots == ["action"] else _MESSAGES
            yield warning(
                outcome.code,
                f'policy "{policy.name}", {", ".join(slots)}: {messages[outcome.code]}',
                outcome.hint,
                about=("policy", policy.name, key),
            )


def _texts(policy: PolicySpec) -> Iterator[tuple[Slot, str, str]]:
    slots: list[Slot] = list(ENTITY_SLOTS) if policy.entity is not None else []
    if policy.action is not None:
        slots.append("action")
    for slot in slots:
        chosen = expression(policy, slot)
        if chosen is not None:
            yield slot, *chosen


def _outcome(text: str, formula: Formula, callers: Callers, slot: Slot) -> _Outcome | None:
    conditions = list(atoms(formula))
    if formula == FALSE or len(conditions) > limits.POLICY_ADVICE_CONDITIONS_MAX:
        return None
    if formula == TRUE:
        hint = "A part of it is always true. Write `true` where everybody may."
        return _Outcome(code=ALWAYS_TRUE, hint=hint) if _asks(parse(text)) else None
    settled = specialise(formula, callers.decide)
    if settled in (TRUE, FALSE):
        lacks = (callers.lack(condition) for condition in conditions)
        hint = next(lack for lack in lacks if lack is not None)
        return _Outcome(code=NEVER_TRUE if settled == FALSE else ALWAYS_TRUE, hint=hint)
    found = clash(settled)
    if found is not None:
        return _Outcome(code=NEVER_TRUE, hint=_exclusion(found))
    if slot == "update":
        found = clash(as_stored(settled))
        if found is not None:
            return _Outcome(
                code=NEVER_TRUE,
                hint="An update must pass on the stored row too, with `data.` the same as "
                f"`existing.`, and there {_exclusion(found, 'it')}",
            )
    found = clash(negate(settled))
    if found is not None:
        return _Outcome(code=ALWAYS_TRUE, hint=_completeness(found))
    return None


def _asks(expr: Expr | ListOf) -> bool:
    """Whether an expression asks for anything, and is not made of literals only."""
    match expr:
        case Path() | Call() | ExistsExpr():
            return True
        case Not():
            return _asks(expr.operand)
        case Compare() | In():
            return _asks(expr.left) or _asks(expr.right)
        case ListOf():
            return any(map(_asks, expr.items))
        case Literal():
            return False
        case _:
            return any(map(_asks, expr.operands))


# --- Words -----------------------------------------------------------------------------------


def _exclusion(found: Clash, subject: str = "It") -> str:
    texts = [_text(each) for each in found]
    if None in texts or not texts:
        return f"{subject} asks for what excludes itself."
    if len(texts) == 1:
        return f"`{texts[0]}` never holds."
    return f"`{texts[0]}` and `{texts[1]}` are never both true."


def _completeness(found: Clash) -> str:
    texts = [_text(negate(each)) for each in found]
    if None in texts or not texts:
        return "One of its parts always holds. Write `true` where everybody may."
    if len(texts) == 1:
        return f"`{texts[0]}` always holds."
    return f"`{texts[0]}` or `{texts[1]}` always holds; did you mean `&&`?"


def _text(formula: Formula) -> str | None:
    """A condition as it is written; None for one that is too long or not written so."""
    if isinstance(formula, Exists):
        return f"{'!' if formula.negated else ''}exists({formula.entity}, ...)"
    if not isinstance(formula, Atom):
        return None
    terms = [_term(term) for term in formula.terms]
    if None in terms:
        return None
    no = "!" if formula.negated else ""
    match formula.test:
        case "equal":
            return f"{terms[0]} {'!=' if formula.negated else '=='} {terms[1]}"
        case "null":
            return f"{terms[0]} {'!=' if formula.negated else '=='} null"
        case "truthy":
            return f"{no}{terms[0]}"
        case "has_role":
            return f"{no}auth.hasRole({terms[0]})"
        case "in_roles":
            return f"!({terms[0]} in auth.roles)" if no else f"{terms[0]} in auth.roles"
        case "bool":
            return None
        case test:
            plain = f"{terms[0]} {'!=' if test == 'differ' else test} {terms[1]}"
            return f"!({plain})" if no else plain


def _term(term: Term) -> str | None:
    match term:
        case Constant():
            return None if term.kind == "time" else encode(term.value).decode()
        case Attribute():
            return f"auth.{term.name}"
        case Column():
            return f"{'existing' if term.stored else 'data'}.{term.name}"
        case Member():
            return term.name
        case Input():
            return f"input.{'.'.join(term.steps)}"
