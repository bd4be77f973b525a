"""The base class of entities: reads a class body into an `EntitySpec` and a `PolicySpec`.

Reading happens when the class is made, mistakes are kept on the class and reported together by
`Declarations.manifest()`. Nothing here knows storage: an instance is only a typed set of values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import (
    Any,
    ClassVar,
    Final,
    Self,
    TypeAlias,
    TypeVar,
    cast,
    dataclass_transform,
)

from msgspec import Struct

from pylon.codec import decode_trusted
from pylon.limits import DECIMAL_DIGITS_MAX
from pylon.schema.called import declaration
from pylon.schema.diagnostics import Diagnostic, Span, did_you_mean, error
from pylon.schema.expressions import Expression
from pylon.schema.fields import (
    FieldOptions,
    Id,
    Problem,
    created_at,
    field,
    read_annotation,
    read_bound,
    read_default,
    updated_at,
)
from pylon.schema.frozen import refuse_frozen
from pylon.schema.model import (
    USER,
    FieldSpec,
    IndexSpec,
    JsonDefault,
    OnDelete,
    RelationSpec,
    SearchSpec,
    kind_of_type,
)
from pylon.schema.places import Body, read_body
from pylon.schema.strays import is_class_variable, lost_fields, own_annotations, refuse_is, strays

Rule: TypeAlias = "Expression | str | bool"
"""An expression, its text, or always/never."""

PartT = TypeVar("PartT")

POLICY_WORDS: Final = {
    "allow": "allow",
    "read": "allowRead",
    "insert": "allowInsert",
    "update": "allowUpdate",
    "delete": "allowDelete",
    "write": "allowWrite",
}
"""The slots of a policy in Python and on the wire."""

_SEARCH_WORDS: Final = ("text", "facets", "sortable")


class IndexParts(Struct, frozen=True, kw_only=True):
    """An index that has no name yet; made by `index`."""

    noun: ClassVar[str] = "an index"
    block: ClassVar[str] = "indexes"

    fields: tuple[str, ...]
    unique: bool
    where: str | None
    case_insensitive: bool


class RelationParts(Struct, frozen=True, kw_only=True):
    """A relation that has no name yet; made by `relation`."""

    noun: ClassVar[str] = "a relation"
    block: ClassVar[str] = "relations"

    target: str
    field: str
    many: bool
    on_delete: OnDelete | None
    check: bool | None


class Reading(Struct, frozen=True, kw_only=True):
    """What a class body said. `rules` are by wire slot; `problems` belong to this class."""

    fields: tuple[FieldSpec, ...]
    indexes: tuple[IndexSpec, ...]
    relations: tuple[RelationSpec, ...]
    search: SearchSpec | None
    rules: dict[str, str]
    problems: tuple[Diagnostic, ...]
    spots: dict[str, Span]
    """Where its parts stand: `""` the class, `title`, `policy.read`."""


@declaration("index", fields=str, unique=bool, where=str, case_insensitive=bool)
def index(
    *fields: str, unique: bool = False, where: str | None = None, case_insensitive: bool = False
) -> IndexParts:
    """An index, named by the attribute it is assigned to in `class indexes`.

    With `where` ("plan = 'hobby'") only rows for which it holds are in it, and `unique` is said of
    them alone; see docs/schema.md for what it may say. With `case_insensitive` its texts are the
    same in either case of A to Z.
    """
    return IndexParts(fields=fields, unique=unique, where=where, case_insensitive=case_insensitive)


@declaration("relation", target=(type, str), field=str, many=bool, on_delete=str, check=bool)
def relation(
    target: type[Entity] | str,
    *,
    field: str,
    many: bool = False,
    on_delete: OnDelete | None = None,
    check: bool | None = None,
) -> RelationParts:
    """A relation to `target` through the foreign key `field`, named by its attribute.

    `many`: the rows of `target` whose `field` names this one. `on_delete`: what becomes of rows
    when the one that they name is deleted: "cascade" (they go too), "set_null" (the field is
    emptied), "restrict" (the delete is refused); None leaves them as they are. `check`: a write may
    name a row only that is there. It is on unless `target` is `User`: a guest has an id and no row.
    """
    name = target if isinstance(target, str) else target.__name__
    return RelationParts(target=name, field=field, many=many, on_delete=on_delete, check=check)


@dataclass_transform(kw_only_default=True, field_specifiers=(field, created_at, updated_at))
class Entity:
    """A table whose rows are synced. Annotated attributes are its fields; `id` is implicit.

    Four inner classes say more: `policy` (read, insert, update, delete, write, allow), `indexes`
    (`by_owner = index("ownerId")`), `relations` (`owner = relation("User", field="ownerId")`) and
    `search` (text, facets, sortable: tuples of field names).
    """

    __pylon__: ClassVar[Reading]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The frame of the class statement: annotations may name what only its function knows.
        frame = sys._getframe(1)
        names = {**frame.f_globals, **frame.f_locals, cls.__name__: cls}
        span = Span(frame.f_code.co_filename, frame.f_lineno)
        body = read_body(frame.f_code.co_filename, cls.__name__, frame.f_lineno)
        cls.__pylon__ = _Reader(cls, names, span, body).read()

    def __init__(self, **values: Any) -> None:
        known = {spec.name: spec for spec in type(self).__pylon__.fields}
        unknown = values.keys() - known.keys()
        missing = [
            spec.name
            for spec in known.values()
            if spec.name not in values and spec.default is None and not spec.optional
        ]
        if unknown or missing:
            told = [f"unknown: {', '.join(sorted(unknown))}"] if unknown else []
            told += [f"missing: {', '.join(missing)}"] if missing else []
            raise TypeError(f"{type(self).__name__}(): {'; '.join(told)}")
        for name, spec in known.items():
            default = getattr(type(self), name, None)
            if isinstance(spec.default, JsonDefault):  # a new one for each
                default = decode_trusted(spec.default.text)
            setattr(self, name, values.get(name, default))

    @property
    def id(self) -> Id[Self]:
        """The id that the server gave the row. Raises LookupError before the row is stored."""
        row_id: str | None = self.__dict__.get("__id__")
        if row_id is None:
            raise LookupError(f"this {type(self).__name__} is not stored yet, so it has no id")
        return Id(row_id)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]  # rows are mutable

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{spec.name}={getattr(self, spec.name)!r}"
            for spec in type(self).__pylon__.fields
            if not spec.is_private
        )
        return f"{type(self).__name__}({shown})"


_NOTHING: Final = Reading(
    fields=(), indexes=(), relations=(), search=None, rules={}, problems=(), spots={}
)
Entity.__pylon__ = _NOTHING


class _Reader:
    """Reads one class body; fields and blocks of base entities come first."""

    def __init__(self, cls: type[Entity], names: Mapping[str, Any], span: Span, body: Body) -> None:
        self._cls = cls
        self._names = names
        self._body = body
        self._spots = {
            "": span,
            **{name: Span(span.file, line) for name, line in body.lines.items()},
        }
        self._problems: list[Diagnostic] = []

    def read(self) -> Reading:
        inherited = _inherited(self._cls)
        annotations = own_annotations(self._cls)
        own = list(self._fields(annotations))
        for name, problem in strays(self._cls, annotations):
            self._report(name, problem)
        for base in self._cls.__mro__[1:]:
            for name, problem in () if issubclass(base, Entity) else lost_fields(base):
                self._report(name, problem)
        replaced = {spec.name: spec for spec in own}
        kept = {spec.name: spec for spec in inherited.fields}
        return Reading(
            fields=tuple({**kept, **replaced}.values()),
            indexes=(*inherited.indexes, *self._indexes(annotations)),
            relations=(*inherited.relations, *self._relations(annotations)),
            search=self._search(annotations) or inherited.search,
            rules=self._rules(annotations) or inherited.rules,
            problems=(*inherited.problems, *self._problems),
            spots={**inherited.spots, **self._spots},
        )

    def _fields(self, annotations: Mapping[str, object]) -> Iterator[FieldSpec]:
        for name, annotation in annotations.items():
            if is_class_variable(annotation):
                continue
            try:
                yield self._field(name, annotation)
            except Problem as problem:
                self._report(name, problem)

    def _field(self, name: str, annotation: object) -> FieldSpec:
        written = self._cls.__dict__.get(name, FieldOptions())
        options = written if isinstance(written, FieldOptions) else FieldOptions(default=written)
        said = read_annotation(annotation, self._names)
        options.refuse_other_words()
        keys = options.spec_keys()
        optional = keys.pop("optional", said.optional)
        if written is None and not optional:
            hint = "Write `| None` behind the type, or leave the default out."
            raise Problem("DEFAULT_INVALID", "has the default None but is not optional", hint)
        refuse_frozen(self._body.values.get(name), options.default)
        for bound in ("min", "max"):
            if bound in keys:
                keys[bound] = read_bound(keys[bound])
        default = read_default(options.default)
        self._leave_literal(name, options)
        return FieldSpec(
            name=name,
            type=_scaled(said.type, options.words.get("scale")),
            optional=optional,
            default=default,
            format=said.format,
            choices=said.choices,
            stamp=options.stamp,
            **keys,
        )

    def _leave_literal(self, name: str, options: FieldOptions) -> None:
        """As with dataclasses, the class keeps a literal default and loses anything else."""
        if isinstance(options.default, str | int | float | Decimal | date):
            setattr(self._cls, name, options.default)
        elif name in self._cls.__dict__:
            delattr(self._cls, name)

    def _indexes(self, annotations: Mapping[str, object]) -> Iterator[IndexSpec]:
        for name, parts in self._parts("indexes", IndexParts, "index(...)", annotations):
            yield IndexSpec(
                name=name,
                fields=parts.fields,
                unique=parts.unique,
                where=parts.where,
                caseInsensitive=parts.case_insensitive,
            )

    def _relations(self, annotations: Mapping[str, object]) -> Iterator[RelationSpec]:
        wanted = "relation(...)"
        for name, parts in self._parts("relations", RelationParts, wanted, annotations):
            check = parts.check
            if check is None:
                check = not parts.many and parts.target != USER
            yield RelationSpec(
                name=name,
                target=parts.target,
                field=parts.field,
                many=parts.many,
                check=check,
                onDelete=parts.on_delete,
            )

    def _parts(
        self, block: str, kind: type[PartT], wanted: str, annotations: Mapping[str, object]
    ) -> Iterator[tuple[str, PartT]]:
        for name, value in self._block(block, annotations).items():
            if isinstance(value, kind):
                yield name, value
            else:
                message = f"is {value!r} where {wanted} was expected"
                hint = f"Write `{name} = {wanted}`."
                self._report(f"{block}.{name}", Problem("SLOT_INVALID", message, hint))

    def _search(self, annotations: Mapping[str, object]) -> SearchSpec | None:
        lists: dict[str, tuple[str, ...]] = {}
        for name, value in self._block("search", annotations).items():
            place = f"search.{name}"
            if name not in _SEARCH_WORDS:
                hint = did_you_mean(name, _SEARCH_WORDS)
                self._report(place, Problem("SLOT_UNKNOWN", "is no part of a search", hint))
            elif not _is_names(value):
                hint = f'Write `{name} = ("title",)`.'
                message = f"is {value!r} where field names were expected"
                self._report(place, Problem("SLOT_INVALID", message, hint))
            else:
                lists[name] = tuple(cast("Iterable[str]", value))
        return SearchSpec(**lists) or None

    def _rules(self, annotations: Mapping[str, object]) -> dict[str, str]:
        rules: dict[str, str] = {}
        for name, value in self._block("policy", annotations).items():
            try:
                refuse_is(self._body.values.get(f"policy.{name}"))
                rules[policy_slot(name)] = rule_text(value)
            except Problem as problem:
                self._report(f"policy.{name}", problem)
        return rules

    def _block(self, name: str, annotations: Mapping[str, object]) -> dict[str, object]:
        """The public attributes of an inner class; empty when there is none."""
        block = None if name in annotations else self._cls.__dict__.get(name)
        if block is None:
            return {}
        if not isinstance(block, type):
            message = f"is {block!r} where an inner class was expected"
            hint = f"Write `class {name}:`, or annotate it if it is a field."
            self._report(name, Problem("SLOT_INVALID", message, hint))
            return {}
        return {key: value for key, value in vars(block).items() if not key.startswith("__")}

    def _report(self, part: str, problem: Problem) -> None:
        place = f"{self._cls.__name__}.{part}"
        span = self._spots.get(part) or self._spots.get(part.partition(".")[0]) or self._spots[""]
        self._problems.append(
            error(problem.code, f"{place} {problem.message}", problem.hint, span=span)
        )


def policy_slot(word: str) -> str:
    """The wire name of a policy slot. Raises `Problem` for a word that is none."""
    if word not in POLICY_WORDS:
        hint = did_you_mean(word, POLICY_WORDS)
        raise Problem("SLOT_UNKNOWN", "is no slot of a policy", hint)
    return POLICY_WORDS[word]


def rule_text(value: object) -> str:
    """The policy text of a rule. Raises `Problem` for what is no rule."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | Expression() if str(value).strip():
            return str(value)
        case (Expression(),):
            hint = "There is a comma behind it."
            raise Problem("SLOT_INVALID", "is a tuple, which is no rule", hint)
        case _ if callable(value):
            raise Problem(
                "SLOT_INVALID",
                "is a function, which is no rule",
                "A rule is an expression, since databases and streams ask it too: "
                "`read = auth.userId == data.ownerId`. What it cannot say belongs into a hook.",
            )
        case _:
            raise Problem(
                "SLOT_INVALID",
                f"is {value!r}, which is no rule",
                "Use an expression such as `auth.userId == data.ownerId`, its text, or a bool.",
            )


def _inherited(cls: type[Entity]) -> Reading:
    """What the base entities said, the nearest last and strongest."""
    merged = _NOTHING
    for base in reversed(cls.__bases__):
        reading: Reading = getattr(base, "__pylon__", _NOTHING)
        fields = {spec.name: spec for spec in (*merged.fields, *reading.fields)}
        merged = Reading(
            fields=tuple(fields.values()),
            indexes=tuple(dict.fromkeys((*merged.indexes, *reading.indexes))),
            relations=tuple(dict.fromkeys((*merged.relations, *reading.relations))),
            search=reading.search or merged.search,
            rules=reading.rules or merged.rules,
            problems=(*merged.problems, *reading.problems),
            spots={**merged.spots, **reading.spots},
        )
    return merged


def _scaled(type_: str, scale: object) -> str:
    """The type with the digits that `field(scale=...)` asks for."""
    if scale is None:
        return type_
    if kind_of_type(type_) != "decimal":
        raise Problem("CONSTRAINT_INVALID", "has a scale", "Only a Decimal has one.")
    wanted = f"decimal({scale})"
    if kind_of_type(wanted) is None:
        hint = f"It is a whole number from 0 to {DECIMAL_DIGITS_MAX}."
        raise Problem("CONSTRAINT_INVALID", f"has the scale {scale!r}", hint)
    return wanted


def _is_names(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)
