"""From a formula to a Python function: one function per rule, made of generated source.

Only names and literals that went through `repr` get into the source. Generated code answers in
about 0.2 microseconds, where a tree of closures takes several times as long.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from pylon.identity import Identity
from pylon.letters import small
from pylon.moments import is_time, moment_key
from pylon.policy.formula import (
    All,
    Atom,
    Attribute,
    Column,
    Const,
    Constant,
    Either,
    Exists,
    Formula,
    Input,
    Member,
    Same,
    Term,
)
from pylon.policy.lower import number_of_text
from pylon.policy.names import IDENTITY_FIELDS

Row = Mapping[str, object]
_NOTHING: Final[Mapping[str, object]] = {}
Predicate = Callable[[Identity, Row, Row, Any], bool]
"""(caller, row or action input, stored row, `lookup.Lookup`) to the verdict."""


def compile_predicate(
    formula: Formula, membership: Callable[[Exists], object] | None = None
) -> Predicate:
    """The function that evaluates `formula`.

    A value of a kind that the schema does not promise (a text in a number field) denies.
    `membership` makes what the lookup is asked for each `exists`.
    """
    names: dict[Exists, str] = {}
    body = (
        f"    try:\n        return {_source(formula, names)}\n"
        "    except TypeError:\n        return False"
    )
    asked = {name: membership(node) for node, name in names.items()} if membership else {}
    decide: Predicate = _function(f"def decide(i, d, e, q):\n{body}\n", "decide", asked)
    return decide


def compile_tuple(sources: Iterable[str], parameters: str = "i") -> Callable[..., tuple[Any, ...]]:
    """A function from the caller to the tuple of these expressions over `i`.

    With the parameters `i, d, e` also from the rows.
    """
    items = "".join(f"{source}, " for source in sources)
    values: Callable[..., tuple[Any, ...]] = _function(
        f"def values({parameters}):\n    return ({items})\n", "values"
    )
    return values


def source_of_atom(atom: Atom) -> str:
    """Python source of one condition, a real bool."""
    source = _source_of_test(atom)
    return f"(not ({source}))" if atom.negated else f"({source})"


def source_of_term(term: Term) -> str:
    """Python source of a value."""
    match term:
        case Constant():
            return repr(term.value)
        case Attribute():
            return f"i.{IDENTITY_FIELDS[term.name]}"
        case Column(kind="time"):
            return f"moment({source_of_term(replace(term, kind='string'))})"
        case Column():
            return f"{'e' if term.stored else 'd'}.get({term.name!r})"
        case Input(kind="any"):
            return f"step(d, {term.steps!r})"
        case Input():
            return f"step_of(d, {term.steps!r}, {term.kind!r})"
        case Member():
            raise AssertionError("the rows of an exists are the database's")


def _function(source: str, name: str, more: Mapping[str, object] = _NOTHING) -> Any:
    namespace = {**_NAMESPACE, **more}
    exec(compile(source, "<policy>", "exec"), namespace)
    return namespace[name]


def _source(formula: Formula, names: dict[Exists, str]) -> str:
    match formula:
        case Const():
            return repr(formula.value)
        case Atom():
            return source_of_atom(formula)
        case All():
            return "(" + " and ".join(_source(each, names) for each in formula.operands) + ")"
        case Either():
            return "(" + " or ".join(_source(each, names) for each in formula.operands) + ")"
        case Same():
            sign = "!=" if formula.negated else "=="
            return f"({_source(formula.left, names)} {sign} {_source(formula.right, names)})"
        case Exists():
            plain = replace(formula, negated=False)
            name = names.setdefault(plain, f"membership_{len(names)}")
            return f"({'not ' if formula.negated else ''}q.holds({name}, i, d, e))"


def _source_of_test(atom: Atom) -> str:
    first = source_of_term(atom.terms[0])
    match atom.test:
        case "null":
            if isinstance(atom.terms[0], Column):
                first = source_of_term(replace(atom.terms[0], kind="string"))
            return f"{first} is None"
        case "truthy":
            return f"not not {first}"
        case "bool":
            return f"isinstance({first}, bool)"
        case "has_role" | "in_roles":
            return f"{first} in i.roles"
    left, right = atom.terms
    if isinstance(left, Input) or isinstance(right, Input):
        return _source_of_loose(atom.test, left, right, is_folded=atom.is_folded)
    second = source_of_term(right)
    if atom.is_folded:
        first, second = source_of_folded(left), source_of_folded(right)
    if atom.test == "equal":
        if isinstance(right, Constant):
            return f"{first} == {second}"
        return f"(v := {first}) is not None and v == {second}"
    sign = "!=" if atom.test == "differ" else atom.test
    guard = f"(v := {first}) is not None"
    if isinstance(right, Constant):
        return f"{guard} and v {sign} {second}"
    return f"{guard} and (w := {second}) is not None and v {sign} w"


def source_of_folded(term: Term) -> str:
    """The same with A to Z in small."""
    if isinstance(term, Constant):
        return repr(small(term.value))
    return f"small({source_of_term(term)})"


def _source_of_loose(test: str, left: Term, right: Term, *, is_folded: bool) -> str:
    """A comparison with an action's input, whose kind is known only when it is here."""
    source = source_of_folded if is_folded else source_of_term
    first, second = source(left), source(right)
    if test == "equal" and isinstance(right, Constant) and right.kind == "string":
        number = number_of_text(str(right.value))
        if number is not None:
            return f"equal_text({first}, {second}, {number!r})"
    if test in ("equal", "differ"):
        return f"{test}({first}, {second})"
    return f"ordered({first}, {second}, {_ORDERS[test]})"


# --- What generated code calls; all but `moment` is for inputs only ---------------------------


def _step(value: object, steps: tuple[str, ...]) -> object:
    """Descend by keys; what is no scalar is null."""
    for step in steps:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value if isinstance(value, str | int | float) else None


def _step_of(value: object, steps: tuple[str, ...], kind: str) -> object:
    """The same, where a value of another kind is null."""
    found = _step(value, steps)
    if kind == "time":
        return moment_key(found) if isinstance(found, str) and is_time(found) else None
    return found if found is not None and _kind(found) == kind else None


def _moment(value: object) -> object:
    return moment_key(value) if isinstance(value, str) else value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


def _equal(left: object, right: object) -> bool:
    return left is not None and _kind(left) == _kind(right) and left == right


def _equal_text(value: object, text: str, number: float) -> bool:
    return value is not None and value == (number if _kind(value) == "number" else text)


def _differ(left: object, right: object) -> bool:
    return left is not None and right is not None and not _equal(left, right)


def _ordered(left: object, right: object, compare: Callable[[Any, Any], bool]) -> bool:
    if left is None or right is None or _kind(left) != _kind(right):
        return False
    return _kind(left) != "bool" and compare(left, right)


_ORDERS: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_NAMESPACE: Final[dict[str, Any]] = {
    "__builtins__": {"TypeError": TypeError, "isinstance": isinstance, "bool": bool, "len": len}
    | {"int": int, "sorted": sorted, "set": set, "tuple": tuple},
    "moment": _moment,
    "small": small,
    "step": _step,
    "step_of": _step_of,
    "equal": _equal,
    "equal_text": _equal_text,
    "differ": _differ,
    "ordered": _ordered,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
