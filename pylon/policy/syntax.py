"""Policy text to tree and back: `parse` and `format_expr` (spec 05 section 5.2, extended).

The grammar stands in `docs/policies.md`. The parser descends at most `POLICY_NESTING_MAX` levels,
and chains of `&&` and `||` are one node each, so no text can exhaust the stack. Here nothing is
known of fields or attributes; that is `lower`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, cast

from pylon.limits import POLICY_NESTING_MAX
from pylon.policy.nodes import (
    And,
    Call,
    Compare,
    CompareOp,
    Exists,
    Expr,
    In,
    ListOf,
    Literal,
    Not,
    Or,
    Path,
)
from pylon.policy.tokens import PolicySyntaxError, Token, tokenize

__all__ = ["PolicySyntaxError", "format_expr", "parse"]

_PYTHON_SIGNS: Final = {
    "and": "Write `&&`.",
    "or": "Write `||`.",
    "not": "Write `!(...)` before what is denied.",
    "is": "Write `==` or `!=`.",
}
"""Words of Python where a sign is expected."""

_COMPARISONS: Final = frozenset(("==", "!=", "<", "<=", ">", ">="))
_KEYWORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
EXISTS: Final = "exists"
_PARENTHESIS_COST: Final = 2
_NOT_COST: Final = 1


def parse(text: str) -> Expr:
    """The tree of `text`. Raises `PolicySyntaxError` and nothing else, whatever the text."""
    return _Parser(tokenize(text)).expression()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def expression(self) -> Expr:
        tree = self._or(1)
        token = self._peek()
        if token.kind != "end":
            hint = _PYTHON_SIGNS.get(token.text, "Expected `&&`, `||` or the end.")
            if token.text in _COMPARISONS:
                hint = "Comparisons do not chain; use `&&` or parentheses."
            raise PolicySyntaxError(f"unexpected {token.text!r}", token.offset, hint)
        return tree

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _takes(self, sign: str) -> bool:
        """Step over `sign` if it is next."""
        token = self._peek()
        if token.kind == "sign" and token.text == sign:
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        token = self._peek()
        if not self._takes(sign):
            raise PolicySyntaxError(f"expected `{sign}`, found {_shown(token)}", token.offset)

    def _or(self, depth: int) -> Expr:
        if depth > POLICY_NESTING_MAX:
            raise PolicySyntaxError("nested too deeply", self._peek().offset)
        offset = self._peek().offset
        operands = [self._and(depth)]
        while self._takes("||"):
            operands.append(self._and(depth))
        return operands[0] if len(operands) == 1 else Or(tuple(operands), offset)

    def _and(self, depth: int) -> Expr:
        offset = self._peek().offset
        operands = [self._comparison(depth)]
        while self._takes("&&"):
            operands.append(self._comparison(depth))
        return operands[0] if len(operands) == 1 else And(tuple(operands), offset)

    def _comparison(self, depth: int) -> Expr:
        left = self._unary(depth)
        token = self._peek()
        if token.kind == "sign" and token.text in _COMPARISONS:
            self._next()
            right = self._right_side(depth)
            return Compare(cast("CompareOp", token.text), left, right, token.offset)
        if token.kind == "word" and token.text == "in":
            self._next()
            return In(left, self._container(), token.offset)
        return left

    def _unary(self, depth: int) -> Expr:
        offset = self._peek().offset
        count = 0
        while self._takes("!"):
            count += 1
        depth += count * _NOT_COST
        if depth > POLICY_NESTING_MAX:
            raise PolicySyntaxError("nested too deeply", offset)
        tree = self._primary(depth)
        for number in reversed(range(count)):
            tree = Not(tree, offset + number)
        return tree

    def _primary(self, depth: int) -> Expr:
        if self._takes("("):
            return self._parenthesised(depth)
        token = self._peek()
        leaf = self._leaf()
        if isinstance(leaf, Path) and self._takes("("):
            if leaf.name == EXISTS:
                return self._exists(token.offset, depth)
            return Call(leaf.name, self._arguments(), token.offset)
        return leaf

    def _exists(self, offset: int, depth: int) -> Exists:
        token = self._next()
        if token.kind != "word" or "." in token.text:
            raise PolicySyntaxError(
                f"expected an entity, found {_shown(token)}",
                token.offset,
                "Write `exists(Entity, field == data.field && userId == auth.userId)`.",
            )
        self._expect(",")
        condition = self._or(depth + _PARENTHESIS_COST)
        self._expect(")")
        return Exists(token.text, condition, offset)

    def _parenthesised(self, depth: int) -> Expr:
        inner = self._or(depth + _PARENTHESIS_COST)
        self._expect(")")
        return inner

    def _right_side(self, depth: int) -> Expr:
        """A literal, a path or a parenthesis. A call or `!` stays out, as in the reference."""
        if self._takes("("):
            return self._parenthesised(depth)
        leaf = self._leaf()
        token = self._peek()
        if isinstance(leaf, Path) and token.text == "(" and token.kind == "sign":
            raise PolicySyntaxError(
                "a call on the right of a comparison",
                leaf.offset,
                "Put it on the left or in parentheses.",
            )
        return leaf

    def _leaf(self) -> Literal | Path:
        token = self._next()
        if token.kind in ("string", "number"):
            return Literal(token.value, token.offset)
        if token.kind == "word":
            if token.text in _KEYWORDS:
                return Literal(_KEYWORDS[token.text], token.offset)
            return Path(token.text, token.offset)
        hint = "Put a negation in parentheses." if token.text == "!" else None
        raise PolicySyntaxError(f"expected a value, found {_shown(token)}", token.offset, hint)

    def _container(self) -> ListOf | Path:
        token = self._peek()
        if not self._takes("["):
            leaf = self._leaf()
            if isinstance(leaf, Path):
                return leaf
            raise PolicySyntaxError(
                "`in` needs a list", token.offset, 'Write `["a", "b"]` or `auth.roles`.'
            )
        items: list[Literal | Path] = []
        while not self._takes("]"):
            items.append(self._leaf())
            if not self._takes(","):
                self._expect("]")
                break
        return ListOf(tuple(items), token.offset)

    def _arguments(self) -> tuple[str, ...]:
        arguments: list[str] = []
        while not self._takes(")"):
            token = self._next()
            if token.kind != "string":
                raise PolicySyntaxError(
                    f"expected a string argument, found {_shown(token)}", token.offset
                )
            arguments.append(str(token.value))
            if not self._takes(","):
                self._expect(")")
                break
        return tuple(arguments)


def _shown(token: Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)


# --- Tree to text ----------------------------------------------------------------------------


def format_expr(expr: Expr) -> str:
    """The shortest usual text of a tree; `parse(format_expr(e)) == e` within the nesting budget."""
    match expr:
        case Literal():
            return _format_literal(expr)
        case Path():
            return expr.name
        case Call():
            arguments = ", ".join(_quoted(argument) for argument in expr.arguments)
            return f"{expr.name}({arguments})"
        case Exists():
            return f"{EXISTS}({expr.entity}, {format_expr(expr.condition)})"
        case Not():
            bare = isinstance(expr.operand, Literal | Path | Call | Exists | Not)
            return "!" + _format_in(expr.operand, bare=bare)
        case And():
            return " && ".join(
                _format_in(operand, bare=not isinstance(operand, And | Or))
                for operand in expr.operands
            )
        case Or():
            return " || ".join(
                _format_in(operand, bare=not isinstance(operand, Or)) for operand in expr.operands
            )
        case Compare():
            right = _format_in(expr.right, bare=isinstance(expr.right, Literal | Path))
            return f"{_format_left(expr.left)} {expr.op} {right}"
        case In():
            return f"{_format_left(expr.left)} in {_format_container(expr.right)}"


def _format_in(expr: Expr, *, bare: bool) -> str:
    return format_expr(expr) if bare else f"({format_expr(expr)})"


def _format_left(expr: Expr) -> str:
    return _format_in(expr, bare=isinstance(expr, Literal | Path | Call | Exists | Not))


def _format_container(right: ListOf | Path) -> str:
    if isinstance(right, Path):
        return right.name
    return "[" + ", ".join(format_expr(item) for item in right.items) + "]"


def _format_literal(literal: Literal) -> str:
    value = literal.value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # `repr` may give an exponent, which the language does not have.
        plain = format(Decimal(repr(value)), "f")
        return plain if "." in plain else plain + ".0"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    for plain, escaped in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
        ("\0", "\\0"),
    ):
        text = text.replace(plain, escaped)
    return f'"{text}"'
