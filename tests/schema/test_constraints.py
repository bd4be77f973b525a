"""What a field allows beside its type, and which constraints make sense."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.schema.constraints import Fault, constraint, is_day
from pylon.schema.model import FieldSpec, JsonDefault, NowDefault
from pylon.schema.validate import validate
from tests.schema.samples import a_field, an_app, an_entity, parsed


def judged(value: Any, **words: Any) -> str | None:
    """The code of the fault, None for a value that is allowed."""
    check = constraint(FieldSpec(**{"name": "f", "type": "string", **words}))
    assert check is not None
    try:
        check(value)
    except Fault as fault:
        return fault.code
    return None


ADDRESSES = ("a@b.co", "a.b+c@x-y.example", "\u00fc@m\u00fcnchen.de", "a@localhost", "o'k@x.org")
NO_ADDRESSES = ("", "a", "@b.co", "a@", "a@b@c", "a b@c.de", "a..b@c.de", ".a@b.de", "a.@b.de")
MORE_NO_ADDRESSES = ("a@-b.de", "a@b..de", "a@b.de\n", "<a@b.de>", "a@" + "b" * 254)
URLS = ("http://x", "https://x.org:80/a?b#c", "https://[::1]/", "https://m\u00fcnchen.de/\u00fc")
NO_URLS = ("", "x.org", "//x.org", "ftp://x.org", "javascript:alert(1)", "https://", "http://a b")
MORE_NO_URLS = ("https://x:99999999/", "https://x.org/\n", "https:x", "https://[::1", "HTTP")


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert judged(text, format="email") is None


@pytest.mark.parametrize("text", [*NO_ADDRESSES, *MORE_NO_ADDRESSES])
def test_no_addresses(text: str) -> None:
    assert judged(text, format="email") == "NOT_AN_EMAIL"


@pytest.mark.parametrize("text", URLS)
def test_urls(text: str) -> None:
    assert judged(text, format="url") is None


@pytest.mark.parametrize("text", [*NO_URLS, *MORE_NO_URLS])
def test_no_urls(text: str) -> None:
    assert judged(text, format="url") == "NOT_A_URL"


@pytest.mark.parametrize(
    ("value", "words", "code"),
    [
        ("b", {"choices": ("a", "b")}, None),
        ("c", {"choices": ("a", "b")}, "NOT_A_CHOICE"),
        (2, {"type": "int", "choices": (1, 2)}, None),
        (1, {"type": "int", "min": 1}, None),
        (0, {"type": "int", "min": 1}, "TOO_SMALL"),
        (1.5, {"type": "float", "max": 1}, "TOO_LARGE"),
        ("9.00", {"type": "decimal(2)", "max": "10"}, None),
        ("10.01", {"type": "decimal(2)", "max": "10"}, "TOO_LARGE"),
        ("2025-12-31", {"type": "date", "min": "2026-01-01"}, "TOO_SMALL"),
        ("abc", {"minLength": 4}, "TOO_SHORT"),
        ("\U0001f600" * 3, {"maxLength": 3}, None),
        ([1, 2], {"type": "list(int)", "maxLength": 1}, "TOO_LONG"),
        ("AB-1", {"pattern": "[A-Z]+-[0-9]+"}, None),
        ("xAB-1", {"pattern": "[A-Z]+-[0-9]+"}, "PATTERN_MISMATCH"),
        ("AB-1\n", {"pattern": "[A-Z]+-[0-9]+"}, "PATTERN_MISMATCH"),
        ("\ud800", {"pattern": ".*"}, "PATTERN_MISMATCH"),
        ("a" * 10_001, {"pattern": "a*"}, "TOO_LONG"),
        ("a" * 10_000 + "b", {"pattern": "(a+)+"}, "TOO_LONG"),
        ("a" * 9_999 + "b", {"pattern": "(a|a)*(a+)+"}, "PATTERN_MISMATCH"),
    ],
)
def test_constraints(value: Any, words: dict[str, Any], code: str | None) -> None:
    assert judged(value, **words) == code


def test_days_are_those_of_the_calendar() -> None:
    assert is_day("2024-02-29")
    for wrong in ("2026-02-29", "2026-2-9", "20260131", "2026-01-31T00:00", "2026-W05-1", ""):
        assert not is_day(wrong)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        (a_field("f", "bool", min=1), "CONSTRAINT_INVALID"),
        (a_field("f", "int", minLength=1), "CONSTRAINT_INVALID"),
        (a_field("f", "int", pattern="a"), "CONSTRAINT_INVALID"),
        (a_field("f", "string", min="a"), "CONSTRAINT_INVALID"),
        (a_field("f", "int", min=2, max=1), "CONSTRAINT_INVALID"),
        (a_field("f", "int", min="x"), "CONSTRAINT_INVALID"),
        (a_field("f", "date", format="email"), "CONSTRAINT_INVALID"),
        (a_field("f", "string", format="phone"), "CONSTRAINT_INVALID"),
        (a_field("f", "decimal(2)", max="1.005"), "CONSTRAINT_INVALID"),
        (a_field("f", "date", min="soon"), "CONSTRAINT_INVALID"),
        (a_field("f", "string", minLength=3, maxLength=2), "CONSTRAINT_INVALID"),
        (a_field("f", "string", enum=["a", "a"]), "CONSTRAINT_INVALID"),
        (a_field("f", "string", enum=["a", 1]), "CONSTRAINT_INVALID"),
        (a_field("f", "string", enum=[str(n) for n in range(201)]), "CONSTRAINT_INVALID"),
        (a_field("f", "string", stamp="created"), "CONSTRAINT_INVALID"),
        (a_field("f", "string", pattern="("), "PATTERN_INVALID"),
        (a_field("f", "string", pattern="(?=a)"), "PATTERN_INVALID"),
        (a_field("f", "string", pattern="a" * 501), "PATTERN_INVALID"),
        (a_field("f", "string", enum=["a"], default="b"), "DEFAULT_NOT_ALLOWED"),
        (a_field("f", "int", max=1, default=2), "DEFAULT_NOT_ALLOWED"),
        (a_field("f", "decimal(1)", default="1.05"), "DEFAULT_TYPE_MISMATCH"),
        (a_field("f", "list(int)", default=["a"]), "DEFAULT_TYPE_MISMATCH"),
        (a_field("f", "decimal(19)"), "FIELD_TYPE_UNKNOWN"),
        (a_field("f", "list(json)"), "FIELD_TYPE_UNKNOWN"),
        (a_field("f", "list(string)", crdt="list"), "CRDT_ANNOTATION_INVALID"),
    ],
)
def test_constraints_that_make_no_sense_are_told(field: dict[str, Any], code: str) -> None:
    (found,) = validate(parsed(an_app(an_entity("T", field))))
    assert found.code == code
    assert found.about == ("entity", "T", "field", "f")


@pytest.mark.parametrize(
    "type_", ["date", "decimal(2)", "decimal(0)", "json", "list(string)", "list(float)"]
)
def test_types_of_ours_are_strings_to_clients_of_the_reference(type_: str) -> None:
    wire = an_app(an_entity("T", a_field("f", type_)))
    shown = parsed(wire).to_wire()["entities"][0]["fields"][0]
    assert (shown["type"], shown["format"]) == ("string", type_)
    again = parsed(an_app(an_entity("T", shown))).entities[0].fields[0]
    assert again.type == type_


def test_a_whole_field_survives_its_wire_form() -> None:
    spec = FieldSpec(
        name="f",
        type="list(string)",
        minLength=1,
        maxLength=9,
        default=JsonDefault('["a"]'),
    )
    other = FieldSpec(
        name="g", type="string", choices=("a", "b"), format="email", pattern="a", default="a"
    )
    stamp = FieldSpec(
        name="h", type="datetime", stamp="updated", readonly=True, default=NowDefault()
    )
    wire = an_app(an_entity("T", *(each.to_wire() for each in (spec, other, stamp))))
    assert parsed(wire).entities[0].fields == (spec, other, stamp)
