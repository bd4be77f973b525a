"""Whether a declaration was called as it can be: `relation("Category", "categoryId")` cannot.

`declaration` stands above each public function that declares something. What Python says of such a
call names neither the mend nor, for a value of a wrong type, the place where it was written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Final, ParamSpec, TypeAlias, TypeVar

from pylon.schema.diagnostics import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

Kinds: TypeAlias = "type | tuple[type, ...] | frozenset[str]"
"""What a value has to be: of a type, or one of these texts. None is fine as a default."""

_SHOWN: Final = 40
"""Characters of a value that are shown."""

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class DeclarationError(TypeError):
    """A declaration that was called with something it does not take; `hint` names the mend."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}. {hint}")
        self.message = message
        self.hint = hint


def declaration(name: str, /, **kinds: Kinds) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: raise `DeclarationError` for a call that does not fit the function, or a value
    that is not of the kind given for its parameter. `name` is how users call it."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.name != "self"]
        skipped = len(signature.parameters) - len(own)
        takes = f"It takes {name}({_written(own)})."

        @wraps(function)
        def call(*given: P.args, **named: P.kwargs) -> R:
            try:
                bound = signature.bind(*given, **named)
            except TypeError as error:
                mend = _mend(name, own, given[skipped:], named)
                shown = _call(name, given[skipped:], named)
                raise DeclarationError(
                    f"`{shown}` does not fit: {error}", f"{mend}{takes}"
                ) from None
            for key, wanted in kinds.items():
                if key in bound.arguments:
                    value = bound.arguments[key]
                    parameter = signature.parameters[key]
                    is_many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
                    for each in value if is_many else (value,):
                        if not is_of(each, wanted) or (
                            each is None and parameter.default is not None
                        ):
                            what = f"got {_shown(each)} for `{key}`, which is {kind_noun(wanted)}"
                            raise DeclarationError(f"{name}() {what}", takes)
            return function(*given, **named)

        return call

    return decorate


def is_of(value: object, wanted: Kinds) -> bool:
    """Whether a value is of this kind, or None."""
    if value is None:
        return True
    if isinstance(wanted, frozenset):
        return isinstance(value, str) and value in wanted
    return isinstance(value, wanted)


def _mend(
    name: str,
    own: list[inspect.Parameter],
    given: tuple[object, ...],
    named: Mapping[str, object],
) -> str:
    """The call as it was probably meant; nothing where that cannot be told."""
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in own):
        places = len(given)
    else:
        places = sum(each.kind in _POSITIONAL for each in own)
    known = [each.name for each in own if each.kind not in (inspect.Parameter.POSITIONAL_ONLY,)]
    for key in named:
        if key not in known:
            near = did_you_mean(key, known, "")
            return f"{near} " if near else ""
    free = [
        each.name
        for each in own
        if each.kind is inspect.Parameter.KEYWORD_ONLY and each.name not in named
    ]
    extra = given[places:]
    if not extra or len(extra) > len(free):
        return ""
    meant = {**dict(zip(free, extra, strict=False)), **named}
    return f"Write `{_call(name, given[:places], meant)}`. "


def _call(name: str, given: Iterable[object], named: Mapping[str, object]) -> str:
    parts = [_shown(value) for value in given]
    parts += [f"{key}={_shown(value)}" for key, value in named.items()]
    return f"{name}({', '.join(parts)})"


def _shown(value: object) -> str:
    text = value.__name__ if isinstance(value, type) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def kind_noun(wanted: Kinds) -> str:
    """The kind in words."""
    if isinstance(wanted, frozenset):
        return "one of " + ", ".join(f'"{each}"' for each in sorted(wanted))
    types = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join(_NOUNS.get(each, each.__name__) for each in types)


_NOUNS: Final[Mapping[type, str]] = {
    str: "a text",
    bool: "True or False",
    int: "a whole number",
    type: "a class",
    Mapping: "names with their types, `{...}`",
}


def _written(own: Iterable[inspect.Parameter]) -> str:
    """The parameters as they are written in a call, without their types."""
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in own]
    return str(inspect.Signature(plain))[1:-1]
