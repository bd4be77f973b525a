"""The colours of the todo example can be told apart (WCAG 2.2: 4.5 for text, 3 for edges)."""

from __future__ import annotations

import re

import pytest

from tests.examples.served import EXAMPLES

STYLE = (EXAMPLES / "todo" / "public" / "style.css").read_text("utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
)
TEXTS = [
    *((ink, on) for ink in ("ink", "faint") for on in ("card", "page")),
    *((ink, "card") for ink in ("good", "wait", "bad", "accent")),
    ("accent", "page"),
    ("accent-ink", "accent"),
    ("bad", "bad-page"),
]
EDGES = [("edge", "card"), ("edge", "page")]


def luminance(colour: str) -> float:
    """How bright it is, 0 to 1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: dict[str, str]) -> None:
    faint = [(a, b) for a, b in TEXTS if contrast(scheme[a], scheme[b]) < 4.5]
    faint += [(a, b) for a, b in EDGES if contrast(scheme[a], scheme[b]) < 3]
    assert not faint


def test_nothing_moves_for_those_who_asked_for_that() -> None:
    before, _, inside = STYLE.partition("@media (prefers-reduced-motion: no-preference)")
    assert "transform" in inside
    assert not re.search(r"transform:|transition:", before)
