"""The condition of a partial index: read from its text, checked, and written as SQL.

A condition is made of comparisons of a field with literals, joined by AND, OR, NOT and parentheses,
so that every database takes it and the same row is in the index wherever it is kept. Anything else
of SQL (functions, other columns, CASE, LIKE, subqueries) is refused by name. Called by `validate`,
by `store/tables`, and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Final, Literal, Never, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pylon.limits import INDEX_CONDITION_CHARACTERS_MAX, INDEX_CONDITION_DEPTH_MAX
from pylon.moments import moment_column, moment_key
from pylon.schema.model import FieldKind, FieldSpec

Constant: TypeAlias = str | int | float | bool
Operator: TypeAlias = Literal["=", "<>", "<", "<=", ">", ">="]


class ConditionError(Exception):
    """A text that is no condition. `hint` says what may be written instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or (
            "Write comparisons of fields with literals, for example `plan = 'hobby'`, "
            "`deletedAt IS NULL`, `kind IN ('a', 'b')`, joined by AND, OR, NOT."
        )


class Compare(Struct, frozen=True):
    """A field beside literals: one, or several of which it must equal one (`=`)."""

    field: str
    operator: Operator
    values: tuple[Constant, ...]


class IsNull(Struct, frozen=True):
    field: str


class Not(Struct, frozen=True):
    operand: Condition


class Joined(Struct, frozen=True):
    """Operands with AND or OR between them; two or more."""

    word: Literal["AND", "OR"]
    operands: tuple[Condition, ...]


Condition: TypeAlias = Compare | IsNull | Not | Joined

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*")'
    r"|(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><>|<=|>=|==|!=|[=<>(),])"
    r"|(?P<other>\S))",
    re.ASCII,
)
_OPERATORS: Final[dict[str, Operator]] = {
    "=": "=",
    "==": "=",
    "!=": "<>",
    "<>": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_WORDS: Final = frozenset({"AND", "OR", "NOT", "IS", "IN", "NULL", "TRUE", "FALSE"})
_REFUSED_WORDS: Final = frozenset(
    {
        *("all", "any", "between", "case", "cast", "collate", "current_date", "current_time"),
        *("current_timestamp", "distinct", "escape", "exists", "glob", "ilike", "isnull", "like"),
        *("match", "notnull", "regexp", "select", "similar"),
    }
)
_FITS: Final[dict[FieldKind, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool, int),
    "string": (str,),
    "richtext": (str,),
    "datetime": (str,),
    "id": (str,),
    "date": (str,),
    # Databases would compare these as texts.
    "decimal": (),
    "json": (),
    "list": (),
}


def read_condition(text: str) -> Condition:
    """The condition of a text; `ConditionError` names what is not taken."""
    if len(text) > INDEX_CONDITION_CHARACTERS_MAX:
        raise ConditionError(
            f"has {len(text)} characters; at most {INDEX_CONDITION_CHARACTERS_MAX} are read"
        )
    if "\0" in text:
        raise ConditionError("has a character (NUL) that ends a statement")
    return _Parser(text).whole()


def named_fields(condition: Condition) -> set[str]:
    """The fields that a condition looks at."""
    return {leaf.field for leaf in _leaves(condition)}


def problems(condition: Condition, fields: dict[str, FieldSpec]) -> Iterator[str]:
    """Why the condition makes no sense for these fields."""
    for leaf in _leaves(condition):
        field = fields.get(leaf.field)
        if field is None:
            yield f'looks at "{leaf.field}", which is no field of the entity'
        elif isinstance(leaf, Compare):
            for value in leaf.values:
                if not _fits(value, field.kind):
                    yield (
                        f"compares {leaf.field}, which is of type {field.type}, "
                        f"with {_literal(value)}"
                    )


def _fits(value: Constant, kind: FieldKind) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    if kind == "bool":
        return value in (0, 1)
    return isinstance(value, _FITS[kind])


def by_moment(condition: Condition, times: Set[str]) -> Condition:
    """The condition with the fields among `times` compared by their keys (`pylon/moments.py`)."""
    match condition:
        case Compare(field, _, values) if field in times:
            keys = tuple(moment_key(each) if isinstance(each, str) else each for each in values)
            return replace(condition, field=moment_column(field), values=keys)
        case IsNull(field) if field in times:
            return IsNull(moment_column(field))
        case Not(operand):
            return Not(by_moment(operand, times))
        case Joined(_, operands):
            return replace(condition, operands=tuple(by_moment(each, times) for each in operands))
    return condition


def condition_sql(condition: Condition) -> str:
    """The condition as SQL, always the same for the same condition.

    bools are compared as the numbers that they are stored as.
    """
    match condition:
        case Compare(field, operator, values) if len(values) > 1:
            return f"{_quoted(field)} IN ({', '.join(map(_literal, values))})"
        case Compare(field, operator, values):
            return f"{_quoted(field)} {operator} {_literal(values[0])}"
        case IsNull(field):
            return f"{_quoted(field)} IS NULL"
        case Not(IsNull(field)):
            return f"{_quoted(field)} IS NOT NULL"
        case Not(operand):
            return f"NOT ({condition_sql(operand)})"
        case Joined(word, operands):
            return f" {word} ".join(
                f"({condition_sql(each)})" if isinstance(each, Joined) else condition_sql(each)
                for each in operands
            )


def _leaves(condition: Condition) -> Iterator[Compare | IsNull]:
    match condition:
        case Not(operand):
            yield from _leaves(operand)
        case Joined(_, operands):
            for each in operands:
                yield from _leaves(each)
        case _:
            yield condition


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Constant) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(int(value)) if isinstance(value, bool) else repr(value)


class _Parser:
    """Recursive descent over the tokens; OR binds loosest, then AND, then NOT."""

    def __init__(self, text: str) -> None:
        self._tokens = [
            (found.lastgroup or "", found[found.lastgroup or 0]) for found in _TOKEN.finditer(text)
        ]
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        if not self._tokens:
            raise ConditionError("is empty")
        condition = self._either()
        if self._next < len(self._tokens):
            self._refuse()
        return condition

    def _either(self) -> Condition:
        operands = [self._both()]
        while self._took("OR"):
            operands.append(self._both())
        return operands[0] if len(operands) == 1 else Joined("OR", tuple(operands))

    def _both(self) -> Condition:
        operands = [self._single()]
        while self._took("AND"):
            operands.append(self._single())
        return operands[0] if len(operands) == 1 else Joined("AND", tuple(operands))

    def _single(self) -> Condition:
        self._depth += 1
        if self._depth > INDEX_CONDITION_DEPTH_MAX:
            raise ConditionError("is nested too deeply")
        try:
            if self._took("NOT"):
                return Not(self._single())
            if self._took("("):
                inner = self._either()
                self._need(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        field = self._field()
        if self._took("IS"):
            negated = self._took("NOT")
            if self._took("NULL"):
                return Not(IsNull(field)) if negated else IsNull(field)
            self._refuse()
        if self._took("NOT"):
            self._need("IN")
            return Not(self._one_of(field))
        if self._took("IN"):
            return self._one_of(field)
        kind, token = self._peek()
        operator = _OPERATORS.get(token) if kind == "sign" else None
        if operator is None:
            self._refuse()
        self._next += 1
        return Compare(field, operator, (self._constant(),))

    def _one_of(self, field: str) -> Condition:
        self._need("(")
        values = [self._constant()]
        while self._took(","):
            values.append(self._constant())
        self._need(")")
        return Compare(field, "=", tuple(values))

    def _field(self) -> str:
        kind, token = self._peek()
        if kind == "quoted":
            self._next += 1
            return token[1:-1].replace('""', '"')
        if kind != "word" or self._is_reserved(token) or self._is_call():
            self._refuse()
        self._next += 1
        return token

    def _constant(self) -> Constant:
        kind, token = self._peek()
        if kind == "text":
            value: Constant = token[1:-1].replace("''", "'")
        elif kind == "number":
            value = int(token) if token.lstrip("+-").isdecimal() else float(token)
            if not -(2**63) <= value < 2**63:
                raise ConditionError(f"has the number {token}, which does not fit 64 bits")
        elif kind == "word" and token.upper() in ("TRUE", "FALSE"):
            value = token.upper() == "TRUE"
        elif kind == "word" and token.upper() == "NULL":
            raise ConditionError("compares with NULL, which nothing equals", "Write IS NULL.")
        elif kind in ("word", "quoted") and not self._is_call():
            raise ConditionError(f"compares with {token}, which is no literal")
        else:
            self._refuse()
        self._next += 1
        return value

    # --- tokens ------------------------------------------------------------------------------

    def _peek(self) -> tuple[str, str]:
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        raise ConditionError("ends too early")

    def _took(self, wanted: str) -> bool:
        if self._next < len(self._tokens):
            kind, token = self._tokens[self._next]
            if kind in ("word", "sign") and token.upper() == wanted:
                self._next += 1
                return True
        return False

    def _need(self, wanted: str) -> None:
        if not self._took(wanted):
            self._refuse()

    @staticmethod
    def _is_reserved(word: str) -> bool:
        return word.upper() in _WORDS or word.lower() in _REFUSED_WORDS

    def _is_call(self) -> bool:
        after = self._tokens[self._next + 1 : self._next + 2]
        return after == [("sign", "(")] and self._tokens[self._next][0] != "sign"

    def _refuse(self) -> Never:
        """Name what stands here."""
        kind, token = self._peek()
        if kind in ("word", "quoted") and self._is_call():
            raise ConditionError(f"calls {token}(), which an index condition cannot")
        if token.lower() in _REFUSED_WORDS:
            raise ConditionError(f"uses {token.upper()}, which an index condition cannot")
        raise ConditionError(f"has {token[:40]} where it makes no sense")
