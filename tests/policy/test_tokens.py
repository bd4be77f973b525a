"""Texts of policies in tokens: what there is, and where a text goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.limits import POLICY_CHARACTERS_MAX
from pylon.policy.tokens import PolicySyntaxError, tokenize


def test_every_kind_of_token() -> None:
    tokens = tokenize('(auth.userId!=null)&& data._x1 in ["a", -2.5]')
    assert [token.text for token in tokens] == [
        *("(", "auth.userId", "!=", "null", ")", "&&", "data._x1", "in"),
        *("[", '"a"', ",", "-2.5", "]", ""),
    ]
    assert [token.kind for token in tokens[-5:]] == ["string", "sign", "number", "sign", "end"]
    assert (tokens[6].offset, tokens[-1].offset) == (22, 45)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("-0.5", -0.5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808.0", 2.0**63),
        (r'"a\"b\\\n\0"', 'a"b\\\n\0'),
        ("'it\\'s \"so\"'", 'it\'s "so"'),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_values(text: str, value: object) -> None:
    token, end = tokenize(text)
    assert (token.value, type(token.value), end.kind) == (value, type(value), "end")


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("a = b", 2, "unexpected '='"),
        ("a & b", 2, "unexpected '&'"),
        ("1 + 1", 2, "unexpected '+'"),
        ("- 1", 0, "unexpected '-'"),
        ("1x", 0, "unexpected '1'"),
        ("'open", 0, 'unexpected "\'"'),
        (r"a == 'x\q'", 7, r"unknown escape '\\q'"),
        ("1 < 9223372036854775808", 4, "the number does not fit in 64 bits"),
        ("9" * 400 + ".0", 0, "the number is too large"),
        ("'\ud800'", 0, "a string with half of a surrogate pair"),
        (" " * (POLICY_CHARACTERS_MAX + 1), POLICY_CHARACTERS_MAX, "the expression is longer"),
    ],
)
def test_mistakes_are_placed(text: str, offset: int, message: str) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        tokenize(text)
    assert caught.value.offset == offset
    assert caught.value.message.startswith(message)


@given(st.text(alphabet=st.sampled_from("ab1.-\"'\\ n&|=!<>()[],\n"), max_size=40))
def test_tokens_cover_the_text_or_the_mistake_is_inside_it(text: str) -> None:
    try:
        tokens = tokenize(text)
    except PolicySyntaxError as raised:
        assert_inside(raised.offset, text)
        return
    for token in tokens:
        assert text.startswith(token.text, token.offset)
    between = text
    for token in reversed(tokens):
        between = between[: token.offset] + between[token.offset + len(token.text) :]
    assert between.strip(" \t\r\n") == ""


def assert_inside(offset: int, text: str) -> None:
    assert 0 <= offset < len(text)
