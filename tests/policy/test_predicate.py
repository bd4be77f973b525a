"""Predicates as generated source: values of the wrong kind deny, inputs are compared by kind, and
no text of a policy becomes code. That they mean the same as the other targets is `test_random`'s.
"""

from __future__ import annotations

from typing import Any

import pytest

from pylon.identity import ANONYMOUS, Identity
from pylon.policy.formula import Column, Constant, Input
from pylon.policy.lower import lower
from pylon.policy.predicate import compile_predicate, compile_tuple, source_of_term
from pylon.policy.slots import Slot
from pylon.policy.syntax import parse
from pylon.schema.model import EntitySpec, FieldSpec

DOC = EntitySpec(
    name="Doc",
    fields=(
        FieldSpec(name="n", type="int"),
        FieldSpec(name="text", type="string"),
        FieldSpec(name="class", type="bool"),
    ),
)


def judge(
    text: str, row: dict[str, Any], who: Identity = ANONYMOUS, slot: Slot = "read", **more: Any
) -> bool:
    formula, problems = lower(parse(text), entity=None if slot == "action" else DOC, slot=slot)
    assert problems == []
    return compile_predicate(formula)(who, row, more, None)


@pytest.mark.parametrize("value", ["3", [], {}, None])
def test_a_value_that_the_schema_does_not_promise_denies(value: object) -> None:
    assert judge("data.n < 5", {"n": 3}) is True
    assert judge("data.n < 5", {"n": value}) is False


def test_the_stored_row_is_another_one() -> None:
    text = "existing.n < data.n"
    assert judge(text, {"n": 2}, slot="update", n=1)
    assert not judge(text, {"n": 1}, slot="update", n=1)


@pytest.mark.parametrize(
    ("text", "given", "verdict"),
    [
        ("input.a == 1", {"a": 1.0}, True),
        ("input.a == 1", {"a": True}, False),
        ("input.a == '1'", {"a": 1}, True),
        ("input.a == 'x'", {"a": "x"}, True),
        ("input.a != 'x'", {}, True),
        ("input.a.b > 1", {"a": {"b": 2}}, True),
        ("input.a.b > 1", {"a": [2]}, False),
        ("input.a > 'a'", {"a": "b"}, True),
        ("input.a > 'a'", {"a": 3}, False),
        ("input.a == null", {"a": {"b": 1}}, True),
    ],
)
def test_inputs_are_of_any_kind(text: str, given: dict[str, Any], verdict: bool) -> None:
    assert judge(text, given, slot="action") is verdict


def test_texts_and_names_are_data() -> None:
    text = "') or True or ('"
    assert judge(f"data.text == {text!r}", {"text": text})
    assert not judge(f"data.text == {text!r}", {"text": "x"})
    assert judge("data.class == true", {"class": True})
    assert source_of_term(Column("x'] or [1", "string")) == """d.get("x'] or [1")"""
    assert source_of_term(Constant("__import__('os')", "string")) == "\"__import__('os')\""


def test_generated_code_has_no_builtins_to_call() -> None:
    read = compile_tuple(["open"])
    with pytest.raises(NameError):
        read(ANONYMOUS)


def test_tuples_are_read_of_callers_and_rows() -> None:
    sources = [source_of_term(term) for term in (Column("n", "number"), Input(("n",)))]
    assert compile_tuple(sources, "i, d, e")(ANONYMOUS, {"n": 3}, {}) == (3, 3)
    assert compile_tuple([])(ANONYMOUS) == ()
