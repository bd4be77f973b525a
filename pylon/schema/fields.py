"""Fields in Python: the annotations that are types of the manifest, and `field(...)` for the rest.

`read_annotation` and `read_default` translate; what is wrong becomes a `Problem`, which `entity`
turns into a diagnostic with the class and field it belongs to.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Generic,
    Literal,
    TypeAlias,
    TypedDict,
    TypeVar,
    Union,
    Unpack,
    cast,
    get_args,
    get_origin,
    overload,
)

import msgspec
from msgspec.structs import replace

from pylon.codec import encode
from pylon.schema.called import DeclarationError, Kinds, is_of, kind_noun
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.expressions import Expression, Now, auth
from pylon.schema.model import (
    DECIMAL_SCALE,
    LIST_ITEMS,
    SCALAR_KINDS,
    AuthDefault,
    Bound,
    FieldDefault,
    JsonDefault,
    NowDefault,
    kind_of_type,
)

EntityT_co = TypeVar("EntityT_co", covariant=True)
T = TypeVar("T")

Crdt: TypeAlias = Literal["lww", "text", "counter", "list", "movable-list", "tree"]


class Id(str, Generic[EntityT_co]):
    """The id of a row of an entity: `ownerId: Id["User"]` is the type `id(User)`."""

    __slots__ = ()


class _RichTextMark(msgspec.Struct, frozen=True):
    """Tells `RichText` from a plain string at run time."""


class _FormatMark(msgspec.Struct, frozen=True):
    """Tells `Email` and `Url` from a plain string at run time."""

    format: str


class _JsonMark(msgspec.Struct, frozen=True):
    """Tells `Json` from `Any`."""


RichText: TypeAlias = Annotated[str, _RichTextMark()]
"""Text whose concurrent edits merge: the type `richtext`. To a type checker it is a `str`."""

Email: TypeAlias = Annotated[str, _FormatMark("email")]
"""Text that is an e-mail address. To a type checker it is a `str`."""

Url: TypeAlias = Annotated[str, _FormatMark("url")]
"""Text that is an http or https URL. To a type checker it is a `str`."""

Json: TypeAlias = Annotated[Any, _JsonMark()]
"""Any JSON value, kept as it is: the type `json`."""


class FieldType(msgspec.Struct, frozen=True, kw_only=True):
    """What an annotation says of a field: its type in the manifest, and what belongs to it."""

    type: str
    optional: bool = False
    format: str | None = None
    choices: tuple[str | int, ...] = ()


_TYPES: Final[dict[object, FieldType]] = {
    str: FieldType(type="string"),
    int: FieldType(type="int"),
    float: FieldType(type="float"),
    bool: FieldType(type="bool"),
    datetime: FieldType(type="datetime"),
    date: FieldType(type="date"),
    Decimal: FieldType(type=f"decimal({DECIMAL_SCALE})"),
    RichText: FieldType(type="richtext"),
    Email: FieldType(type="string", format="email"),
    Url: FieldType(type="string", format="url"),
    Json: FieldType(type="json"),
    dict: FieldType(type="json"),
}

_KNOWN_NAMES: Final[dict[str, object]] = {
    "Id": Id,
    "RichText": RichText,
    "Email": Email,
    "Url": Url,
    "Json": Json,
    "datetime": datetime,
    "date": date,
    "Decimal": Decimal,
    "Literal": Literal,
    "Any": Any,
}
"""What an annotation may name without an import that exists at run time."""

_EVALUATION_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What the text of an annotation can raise when it is evaluated."""


class Problem(Exception):
    """A part of a declaration that means nothing, with the code and hint of its diagnostic."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class FieldWords(TypedDict, total=False):
    """What `field(...)` may say beside `default`: the one list of a field's options in Python.

    A word that is here goes to the attribute of `FieldSpec` of the same name, in camel case; see
    `model.FIELD_KEYS` for how one is added.
    """

    unique: bool
    optional: bool | None
    crdt: Crdt | None
    private: bool
    readonly: bool
    write_once: bool
    case_insensitive: bool
    min: int | float | Decimal | date
    max: int | float | Decimal | date
    min_length: int
    max_length: int
    pattern: str
    scale: int


_KINDS_OF_WORDS: Final[dict[str, Kinds]] = {
    "crdt": str,
    "min": object,  # judged by `read_bound`
    "max": object,
    "min_length": int,
    "max_length": int,
    "pattern": str,
    "scale": object,  # judged with the type of its field
}
"""What the words are that are not True or False."""


class FieldOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `field(...)` was called with."""

    default: object = None
    words: FieldWords = msgspec.field(default_factory=FieldWords)
    stamp: Literal["created", "updated"] | None = None

    def refuse_other_words(self) -> None:
        """Raise `Problem` for a word that is set to something it cannot be."""
        for word, value in self.words.items():
            kind = _KINDS_OF_WORDS.get(word, bool)
            if not is_of(value, kind):
                message = f"has {word}={value!r:.40}, which is {kind_noun(kind)}"
                raise Problem("CONSTRAINT_INVALID", message, "See `help(pylon.field)`.")

    def spec_keys(self) -> dict[str, Any]:
        """The words as attributes of `FieldSpec`, without those that say nothing, and without the
        scale, which is part of the type."""
        said = {word: value for word, value in self.words.items() if value is not None}
        said.pop("scale", None)
        return {_camel_case(word): value for word, value in said.items()}


@overload
def field(*, default: Expression | Now | None, **words: Unpack[FieldWords]) -> Any: ...
@overload
def field(*, default: T, **words: Unpack[FieldWords]) -> T: ...
@overload
def field(**words: Unpack[FieldWords]) -> Any: ...
def field(*given: object, default: object = None, **words: Unpack[FieldWords]) -> Any:
    """More about a field than its annotation says.

    `default`: a literal, `auth.userId`, `auth.tenantId` or `now`, used when an insert leaves the
    field out. `unique`: no two rows share a value. `crdt`: how concurrent writes merge.
    `private`: never leaves the server but for administrators. `readonly`: filled by its default and
    by the server, never by clients. `write_once`: given at insert, never changed by clients.
    `case_insensitive`: A to Z in either case are one value to every comparison, order and unique
    index; what was written stays as it is. `optional` overrides `| None`. `min`, `max`: the least
    and the largest value. `min_length`, `max_length`: characters of a text, or items of a list.
    `pattern`: a regular expression that the whole text has to match. `scale`: digits behind the
    point of a `Decimal` (2).
    """
    if given:
        hint = f"Write `field(default={given[0]!r})`."
        raise DeclarationError("field() takes no values without a name", hint)
    for word in words:
        if word == "default_factory":
            hint = "A default is a value, or `now`."
            raise DeclarationError("field() has no default_factory", hint)
        if word not in FieldWords.__annotations__:
            hint = did_you_mean(word, ("default", *FieldWords.__annotations__))
            raise DeclarationError(f"field() has no option {word!r}", hint)
    return FieldOptions(default=default, words=words)


def created_at(*, init: Literal[False] = False) -> Any:
    """The time of the insert, set by the server: `createdAt: datetime = created_at()`."""
    return FieldOptions(default=Now(), words={"readonly": True}, stamp="created")


def updated_at(*, init: Literal[False] = False) -> Any:
    """The time of the last write, set by the server: `updatedAt: datetime = updated_at()`."""
    return FieldOptions(default=Now(), words={"readonly": True}, stamp="updated")


def _camel_case(word: str) -> str:
    first, *more = word.split("_")
    return first + "".join(map(str.capitalize, more))


def read_annotation(annotation: object, names: Mapping[str, Any]) -> FieldType:
    """What an annotation says. Raises `Problem`.

    `names` is what the annotation may refer to, when it is text (forward references and
    `from __future__ import annotations`). An entity in `Id[...]` need not exist at run time.
    """
    written = annotation
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = _evaluate(annotation, names)
    if isinstance(annotation, str):  # quoted though all annotations are text already
        annotation = _evaluate(annotation, names)
    kinds, optional = _without_none(annotation)
    if len(kinds) == 1:
        found = _type_of(kinds[0], names)
        if found is not None:
            return replace(found, optional=optional or found.optional)
        if hasattr(kinds[0], "__pylon__"):
            raise _unknown(written, f"A row refers to another by its id: {_id_of(kinds[0])}.")
    raise _unknown(written)


def read_type(value: object) -> FieldType:
    """The same for an input of a query or action, where "id(User)" may be text as well."""
    if isinstance(value, str):
        if kind_of_type(value) is not None:
            return FieldType(type=value)
        hint = did_you_mean(value, SCALAR_KINDS, "Use a Python type or a type of the manifest.")
        raise Problem("ANNOTATION_UNKNOWN", f'has the unknown type "{value}"', hint)
    return read_annotation(value, {})


def read_default(value: object) -> FieldDefault | None:
    """The manifest form of a default. Raises `Problem`. None is no default."""
    match value:
        case None:
            return None
        case Now():
            return NowDefault()
        case Expression():
            if value is auth.userId:
                return AuthDefault("userId")
            if value is auth.tenantId:
                return AuthDefault("tenantId")
            hint = "Only auth.userId, auth.tenantId and now are filled in at insert."
            raise Problem("DEFAULT_INVALID", f"has the rule `{value}` as its default", hint)
        case Enum():
            return read_default(value.value)
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case str():
            return str(value)  # `Id(...)` is one too
        case bool() | int() | float():
            return value
        case list() | dict() | tuple():
            return _json_default(value)
        case _ if callable(value):
            hint = "A default is a value; the time of the insert is `field(default=now)`."
            name = getattr(value, "__name__", repr(value))
            raise Problem("DEFAULT_INVALID", f"has the function {name} as its default", hint)
        case _:
            hint = "A default is a string, number, bool, datetime, auth.userId or now."
            raise Problem("DEFAULT_INVALID", f"has the default {value!r}", hint)


def _json_default(value: object) -> FieldDefault:
    try:
        return JsonDefault(encode(value).decode())
    except (TypeError, ValueError):
        hint = "Lists and objects of a default are made of JSON values."
        raise Problem("DEFAULT_INVALID", f"has the default {value!r:.60}", hint) from None


def read_bound(value: object) -> Bound:
    """The manifest form of `min` or `max`. Raises `Problem`."""
    match value:
        case bool():
            pass
        case int() | float() | str():
            return value
        case Decimal():
            return format(value, "f")
        case date() if not isinstance(value, datetime):
            return value.isoformat()
    hint = "A bound is a number, a Decimal or a date."
    raise Problem("CONSTRAINT_INVALID", f"has the bound {value!r:.60}", hint)


class _Names(dict[str, Any]):
    """Names for `eval`; one that nobody knows stands for an entity to come."""

    def __missing__(self, name: str) -> object:
        known = _KNOWN_NAMES.get(name, builtins.__dict__.get(name))
        return ForwardRef(name) if known is None and name != "None" else known


def _evaluate(text: str, names: Mapping[str, Any]) -> object:
    """What an annotation in the user's own source stands for."""
    try:
        return cast("object", eval(text, {}, _Names(names)))
    except _EVALUATION_ERRORS as error:
        raise _unknown(text) from error


def _without_none(annotation: object) -> tuple[list[object], bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        return [member for member in members if member is not type(None)], type(None) in members
    return [annotation], False


def _type_of(kind: object, names: Mapping[str, Any]) -> FieldType | None:
    if isinstance(kind, ForwardRef):
        known = _evaluate(kind.__forward_arg__, names)
        return None if isinstance(known, ForwardRef) else _type_of(known, names)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Id:
        return FieldType(type=f"id({_entity_name(arguments[0])})")
    if origin is Literal:
        return _choices(arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choices([member.value for member in kind])
    if origin is list:
        item = _type_of(arguments[0], names)
        is_plain = (
            item is not None and item.type in LIST_ITEMS and not (item.choices or item.format)
        )
        return FieldType(type=f"list({item.type})") if item is not None and is_plain else None
    if origin is dict:
        return FieldType(type="json")
    try:
        found = _TYPES.get(kind)
    except TypeError:  # an annotation that cannot be hashed
        return None
    if found is None and origin is Annotated:
        return _type_of(arguments[0], names)
    return found


def _choices(values: Iterable[object]) -> FieldType | None:
    """Texts or whole numbers, of which the field has one; None among them makes it optional."""
    listed = list(values)
    given = [value for value in listed if value is not None]
    optional = len(given) < len(listed)
    texts = tuple(str(value) for value in given if isinstance(value, str))
    numbers = tuple(
        int(value) for value in given if isinstance(value, int) and not isinstance(value, bool)
    )
    if texts and len(texts) == len(given):
        return FieldType(type="string", optional=optional, choices=texts)
    if numbers and len(numbers) == len(given):
        return FieldType(type="int", optional=optional, choices=numbers)
    return None


def _entity_name(target: object) -> str:
    if isinstance(target, ForwardRef):
        # "models.User" names the entity User.
        return target.__forward_arg__.strip("'\" ").rpartition(".")[2]
    return target.__name__ if isinstance(target, type) else str(target)


def _id_of(entity: object) -> str:
    return f'`Id["{getattr(entity, "__name__", entity)}"]`'


def _unknown(annotation: object, hint: str | None = None) -> Problem:
    shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None)
    return Problem(
        "ANNOTATION_UNKNOWN",
        f"has the annotation `{shown or annotation}`, which is no type of a field",
        hint
        or "Use str, int, float, bool, datetime, date, Decimal, RichText, Email, Url, Json, "
        'Literal["a", "b"], list[str] or Id["Entity"], with `| None` if optional.',
    )
