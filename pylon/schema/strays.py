"""What stands in a class body and would be lost: values without annotation, inner classes that mean
nothing, parts outside of their block, fields of a base that is no entity, rules of Python's `is`.

Called by `entity`, which knows the class and reports.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, Protocol, get_origin, runtime_checkable

from pylon.schema.diagnostics import did_you_mean
from pylon.schema.expressions import Expression, Now
from pylon.schema.fields import FieldOptions, Problem
from pylon.schema.frozen import is_value

BLOCKS: Final = ("policy", "indexes", "relations", "search")
"""The inner classes that say more of an entity."""


@runtime_checkable
class BlockPart(Protocol):
    """What belongs into one of the blocks: `an index` into `indexes`."""

    noun: ClassVar[str]
    block: ClassVar[str]


def strays(cls: type, annotations: Mapping[str, object]) -> Iterator[tuple[str, Problem]]:
    """Attributes that look as if they were meant, by name, and why they are not."""
    for name, value in vars(cls).items():
        if name in annotations or name in BLOCKS or name.startswith("_"):
            continue
        if isinstance(value, type) and value.__qualname__.startswith(f"{cls.__qualname__}."):
            if value.__bases__ == (object,):
                message = "is an inner class that means nothing"
                hint = did_you_mean(name, BLOCKS, f"There are {', '.join(BLOCKS)}.")
                yield name, Problem("SLOT_UNKNOWN", message, hint)
        elif isinstance(value, type) or get_origin(value) is not None:
            shown = inspect.formatannotation(value)
            message = f"is set to the type {shown} and has no annotation"
            hint = f"Write `{name}: {shown}`, with a colon."
            yield name, Problem("FIELD_NOT_ANNOTATED", message, hint)
        elif isinstance(value, BlockPart):
            message = f"is {value.noun} outside of `class {value.block}`"
            yield name, Problem("SLOT_INVALID", message, f"Move it into `class {value.block}:`.")
        elif is_value(value):
            hint = f"Write its type: `{name}: {_type_of_value(value)} = {_written(value)}`."
            if not isinstance(value, FieldOptions | Expression | Now):
                hint += f" A constant of the class is `{name}: ClassVar[...]`."
            yield name, Problem("FIELD_NOT_ANNOTATED", "has no annotation", hint)


def lost_fields(base: type) -> Iterator[tuple[str, Problem]]:
    """The fields of a base class that is no entity, in one problem."""
    if base.__module__ in ("typing", "builtins"):
        return
    lost = [n for n, a in own_annotations(base).items() if not is_class_variable(a)]
    if lost:
        message = f"would be lost, as its class {base.__name__} is no entity"
        hint = f"Write `class {base.__name__}(Entity):`; do not register it."
        yield ", ".join(lost), Problem("FIELD_LOST", message, hint)


def refuse_is(written: ast.expr | None) -> None:
    """Raise `Problem` for `data.a is None`, which is false before any rule can be made of it."""
    for node in () if written is None else ast.walk(written):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            sign = "==" if isinstance(node.ops[0], ast.Is) else "!="
            raise Problem(
                "SLOT_INVALID",
                f"says `{ast.unparse(node)}`, of which a rule sees nothing but True or False",
                f"Write {sign} instead of is.",
            )


def own_annotations(cls: type) -> Mapping[str, object]:
    """The annotations of this class body, as objects or text, never raising."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def is_class_variable(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2].strip() == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _type_of_value(value: object) -> str:
    """What the annotation of a field with this default probably is."""
    if isinstance(value, FieldOptions):
        value = value.default
    match value:
        case None | Expression():
            return "str"
        case Now():
            return "datetime"
        case _:
            return type(value).__name__


def _written(value: object) -> str:
    return "field(...)" if isinstance(value, FieldOptions | Expression | Now) else f"{value!r:.40}"
