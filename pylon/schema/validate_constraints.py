"""Checks on the constraints of a field: that they fit its type, and allow its default.

Part of `validate`. What a constraint means for a value is in `constraints`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from pylon.codec import decode_trusted
from pylon.errors import ConfigError
from pylon.limits import FIELD_CHOICES_MAX, FIELD_PATTERN_CHARACTERS_MAX
from pylon.schema.constraints import (
    Fault,
    PatternInvalid,
    comparable,
    compile_pattern,
    constraint,
    decimal_text,
    is_day,
)
from pylon.schema.diagnostics import Diagnostic, did_you_mean, error
from pylon.schema.model import (
    FORMATS,
    AuthDefault,
    Bound,
    FieldKind,
    FieldSpec,
    JsonDefault,
    Manifest,
    NowDefault,
)

_WORDS: Final[dict[str, frozenset[FieldKind]]] = {
    "format": frozenset({"string"}),
    "choices": frozenset({"string", "int"}),
    "min": frozenset({"int", "float", "decimal", "date"}),
    "max": frozenset({"int", "float", "decimal", "date"}),
    "minLength": frozenset({"string", "richtext", "list"}),
    "maxLength": frozenset({"string", "richtext", "list"}),
    "pattern": frozenset({"string"}),
    "stamp": frozenset({"datetime"}),
}
"""Which types each constraint can be said of."""

_SHOWN: Final = {
    "choices": "enum",
    "minLength": "min_length",
    "maxLength": "max_length",
}
"""How people write them."""

Problem = tuple[str, str, str]
"""Code, what is wrong (after the name of the field), and the hint."""


def check_constraints(manifest: Manifest) -> Iterator[Diagnostic]:
    """Every constraint must fit its field, make sense, and allow the default."""
    for entity in manifest.entities:
        for field in entity.fields:
            for code, message, hint in _problems(field):
                place = f'field "{entity.name}.{field.name}"'
                about = ("entity", entity.name, "field", field.name)
                yield error(code, f"{place} {message}", hint, about=about)
    for noun, callables in (("query", manifest.queries), ("action", manifest.actions)):
        for one in callables:
            for field in one.input:
                for code, message, hint in _problems(field):
                    place = f'input "{field.name}" of the {noun} "{one.name}"'
                    about = (noun, one.name, "input", field.name)
                    yield error(code, f"{place} {message}", hint, about=about)


def _problems(field: FieldSpec) -> Iterator[Problem]:
    found = [*_misfits(field), *_senseless(field)]
    yield from found
    if not found and field.default is not None:
        yield from _default(field)


def _misfits(field: FieldSpec) -> Iterator[Problem]:
    for word, kinds in _WORDS.items():
        if getattr(field, word) not in (None, ()) and field.kind not in kinds:
            shown = _SHOWN.get(word, word)
            yield (
                "CONSTRAINT_INVALID",
                f"is of type {field.type} and has {shown}",
                f"{shown} is for {', '.join(sorted(kinds))}.",
            )


def _senseless(field: FieldSpec) -> Iterator[Problem]:
    if field.format is not None and field.format not in FORMATS:
        yield (
            "CONSTRAINT_INVALID",
            f'has the unknown format "{field.format}"',
            did_you_mean(field.format, FORMATS),
        )
    if len(field.choices) > FIELD_CHOICES_MAX:
        hint = "Keep them in an entity, and refer to it by `Id[...]`."
        yield "CONSTRAINT_INVALID", f"has more than {FIELD_CHOICES_MAX} choices", hint
    wanted = int if field.kind == "int" else str
    if any(type(choice) is not wanted for choice in field.choices):
        yield "CONSTRAINT_INVALID", "has choices of another type", "All are of the field's type."
    if len(set(field.choices)) < len(field.choices):
        yield "CONSTRAINT_INVALID", "has a choice twice", "Remove one of them."
    yield from _bounds(field)
    if field.maxLength is not None and (field.minLength or 0) > field.maxLength:
        yield "CONSTRAINT_INVALID", "has a min_length above its max_length", "Swap them."
    if field.pattern is not None:
        yield from _pattern(field.pattern)


def _bounds(field: FieldSpec) -> Iterator[Problem]:
    given = [bound for bound in (field.min, field.max) if bound is not None]
    if not all(_is_bound(field, bound) for bound in given):
        hint = f"A bound is a value of the field, whose type is {field.type}."
        yield "CONSTRAINT_INVALID", "has a bound that it could not hold", hint
    elif len(given) == 2 and comparable(field, given[0]) > comparable(field, given[1]):
        yield "CONSTRAINT_INVALID", "has a min above its max", "Swap them."


def _is_bound(field: FieldSpec, bound: Bound) -> bool:
    match field.kind:
        case "int" | "float":
            return isinstance(bound, int | float) and isfinite(bound)
        case "decimal":
            return decimal_text(bound, field.scale) is not None
        case "date":
            return isinstance(bound, str) and is_day(bound)
        case _:
            return True  # told as a misfit


def _pattern(pattern: str) -> Iterator[Problem]:
    if len(pattern) > FIELD_PATTERN_CHARACTERS_MAX:
        hint = f"Use at most {FIELD_PATTERN_CHARACTERS_MAX} characters."
        yield "PATTERN_INVALID", "has a pattern that is too long", hint
        return
    try:
        compile_pattern(pattern)
    except PatternInvalid as reason:
        hint = "Patterns are those of RE2: without lookaround and references back."
        yield "PATTERN_INVALID", f"has a pattern that cannot be read: {reason}", hint
    except ConfigError as missing:
        yield missing.code, "has a pattern, and no engine for it is installed", missing.hint or ""


def _default(field: FieldSpec) -> Iterator[Problem]:
    check, value = constraint(field), field.default
    if check is None or isinstance(value, AuthDefault | NowDefault):
        return
    plain = decode_trusted(value.text) if isinstance(value, JsonDefault) else value
    if field.kind == "decimal" and isinstance(plain, str | int | float):
        plain = decimal_text(plain, field.scale)
    try:
        check(plain)
    except Fault as fault:
        hint = "Give another default, or loosen the constraint."
        yield "DEFAULT_NOT_ALLOWED", f"has a default that must be {fault}", hint
    except TypeError:
        return  # told as DEFAULT_TYPE_MISMATCH
