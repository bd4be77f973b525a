"""Annotations and defaults of Python in the words of the manifest."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ForwardRef, Literal, Optional

import pytest

from pylon.schema.expressions import auth, data, now
from pylon.schema.fields import (
    Email,
    FieldType,
    FieldWords,
    Id,
    Json,
    Problem,
    RichText,
    field,
    read_annotation,
    read_default,
    read_type,
)
from pylon.schema.model import FIELD_KEYS, AuthDefault, FieldSpec, JsonDefault, NowDefault
from pylon.schema.user import User


class Team:
    """Any class will do as the target of an id."""


@pytest.mark.parametrize(
    ("annotation", "type_", "optional"),
    [
        (str, "string", False),
        (int, "int", False),
        (float, "float", False),
        (bool, "bool", False),
        (dt.datetime, "datetime", False),
        (RichText, "richtext", False),
        (Id["User"], "id(User)", False),
        (Id[Team], "id(Team)", False),
        (Id["models.User"], "id(User)", False),  # type: ignore[name-defined]
        (str | None, "string", True),
        (Optional[RichText], "richtext", True),  # noqa: UP045
        (None | Id["User"], "id(User)", True),
        (Annotated[str, "a note"], "string", False),
        ("str", "string", False),
        ("dt.datetime | None", "datetime", True),
        ("RichText | None", "richtext", True),
        ("Id[Team] | None", "id(Team)", True),
        ("Id[NotYetThere]", "id(NotYetThere)", False),
        ('Id["NotYetThere"] | None', "id(NotYetThere)", True),
        ("Optional[Id[NotYetThere]]", "id(NotYetThere)", True),
        ("datetime", "datetime", False),
        (ForwardRef("str | None"), "string", True),
        (Optional["str"], "string", True),
    ],
)
def test_annotations_are_types(annotation: object, type_: str, optional: bool) -> None:
    found = read_annotation(annotation, globals())
    assert found == FieldType(type=type_, optional=optional)


class State(StrEnum):
    OPEN = "open"
    SHUT = "shut"


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (dt.date, FieldType(type="date")),
        (Decimal | None, FieldType(type="decimal(2)", optional=True)),
        (Email, FieldType(type="string", format="email")),
        ("Url | None", FieldType(type="string", format="url", optional=True)),
        (Json, FieldType(type="json")),
        (dict, FieldType(type="json")),
        (dict[str, int], FieldType(type="json")),
        (list[str], FieldType(type="list(string)")),
        ("list[float] | None", FieldType(type="list(float)", optional=True)),
        (Literal["a", "b"], FieldType(type="string", choices=("a", "b"))),
        ("Literal[1, 2, None]", FieldType(type="int", choices=(1, 2), optional=True)),
        (State, FieldType(type="string", choices=("open", "shut"))),
    ],
)
def test_types_that_clients_of_the_reference_do_not_know(
    annotation: object, found: FieldType
) -> None:
    assert read_annotation(annotation, globals()) == found


WRONG: tuple[object, ...] = (
    *(bytes, list, list[Id["User"]], list[list[str]], Literal[1, "a"], Literal[True]),
    *(str | int, None, Any, Id, ForwardRef("x")),
)
WRONG_TEXTS = ("Todo", "str |", "a.b", "1/0", "", "Any", "[]", "Id[")


@pytest.mark.parametrize("annotation", [*WRONG, *WRONG_TEXTS])
def test_other_annotations_are_refused(annotation: object) -> None:
    with pytest.raises(Problem) as raised:
        read_annotation(annotation, globals())
    assert raised.value.code == "ANNOTATION_UNKNOWN"


def test_inputs_may_be_types_of_the_manifest() -> None:
    assert read_type("id(User)") == FieldType(type="id(User)")
    assert read_type("richtext") == FieldType(type="richtext")
    assert read_type("decimal(3)") == FieldType(type="decimal(3)")
    assert read_type(Id["User"] | None) == FieldType(type="id(User)", optional=True)
    with pytest.raises(Problem) as raised:
        read_type("strin")
    assert raised.value.hint == 'Did you mean "string"?'


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, None),
        ("x", "x"),
        (False, False),
        (auth.userId, AuthDefault("userId")),
        (auth.tenantId, AuthDefault("tenantId")),
        (now, NowDefault()),
        ([], JsonDefault("[]")),
        ({"a": None}, JsonDefault('{"a":null}')),
        (State.OPEN, "open"),
        (Decimal("1.50"), "1.50"),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_defaults_are_read(written: object, read: object) -> None:
    assert read_default(written) == read


@pytest.mark.parametrize(
    "value", [auth.email, data.x, auth.userId == None, object(), b"x", [object()]]
)
def test_other_defaults_are_refused(value: object) -> None:
    with pytest.raises(Problem) as raised:
        read_default(value)
    assert raised.value.code == "DEFAULT_INVALID"


def test_an_option_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r'no option \'uniqe\'. Did you mean "unique"\?'):
        field(uniqe=True)  # type: ignore[call-overload, unused-ignore]


def test_every_word_of_a_field_is_an_attribute_of_its_spec() -> None:
    attributes = set(FieldSpec.__struct_fields__)
    said = [word for word in FieldWords.__annotations__ if word != "scale"]  # part of the type
    words = {next(iter(field(**{word: 1}).spec_keys())) for word in said}  # type: ignore[call-overload]
    assert words <= attributes
    assert FIELD_KEYS.keys() <= attributes
