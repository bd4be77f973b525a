"""Annotations and defaults of Python in the words of the manifest."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, ForwardRef, Literal, Optional

import pytest

from pylon.schema.expressions import auth, data, now
from pylon.schema.fields import (
    FieldWords,
    Id,
    Problem,
    RichText,
    field,
    read_annotation,
    read_default,
    read_type,
)
from pylon.schema.model import FIELD_KEYS, AuthDefault, FieldSpec, NowDefault
from pylon.schema.user import User  # noqa: F401 - named by annotations below


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
    assert read_annotation(annotation, globals()) == (type_, optional)


WRONG = (bytes, list[str], dict, str | int, None, Any, Literal["a"], Id, ForwardRef("x"))
WRONG_TEXTS = ("Todo", "str |", "a.b", "1/0", "", "Any", "[]", "Id[")


@pytest.mark.parametrize("annotation", [*WRONG, *WRONG_TEXTS])
def test_other_annotations_are_refused(annotation: object) -> None:
    with pytest.raises(Problem) as raised:
        read_annotation(annotation, globals())
    assert raised.value.code == "ANNOTATION_UNKNOWN"


def test_inputs_may_be_types_of_the_manifest() -> None:
    assert read_type("id(User)") == ("id(User)", False)
    assert read_type("richtext") == ("richtext", False)
    assert read_type(Id["User"] | None) == ("id(User)", True)
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
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_defaults_are_read(written: object, read: object) -> None:
    assert read_default(written) == read


@pytest.mark.parametrize("value", [auth.email, data.x, auth.userId == None, [], object(), b"x"])
def test_other_defaults_are_refused(value: object) -> None:
    with pytest.raises(Problem) as raised:
        read_default(value)
    assert raised.value.code == "DEFAULT_INVALID"


def test_an_option_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r'no option \'uniqe\'. Did you mean "unique"\?'):
        field(uniqe=True)  # type: ignore[call-overload, unused-ignore]


def test_every_word_of_a_field_is_an_attribute_of_its_spec() -> None:
    attributes = set(FieldSpec.__struct_fields__)
    words = {next(iter(field(**{word: 1}).spec_keys())) for word in FieldWords.__annotations__}  # type: ignore[call-overload]
    assert words <= attributes
    assert FIELD_KEYS.keys() <= attributes
