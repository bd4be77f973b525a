"""Calls of declarations that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pylon
from pylon import App, Entity, SchemaError
from pylon.schema.called import DeclarationError

p: Any = pylon
"""Its functions, for calls that a type checker would refuse as well."""

SHOWS = "relation(target, *, field, many=False, on_delete=None, check=None)"


def app() -> Any:
    return App("a")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: p.relation("C", "cId"), "Write `relation('C', field='cId')`. It takes " + SHOWS),
        (lambda: p.relation("C"), "missing a required"),
        (lambda: p.relation("C", fields="cId"), 'Did you mean "field"?'),
        (lambda: p.relation(None, field="c"), "got None for `target`"),
        (lambda: p.relation("C", field=["cId"]), "got ['cId'] for `field`, which is a text"),
        (lambda: p.relation("C", field="c", many="yes"), "for `many`, which is True or False"),
        (lambda: p.relation(5, field="c"), "got 5 for `target`, which is a class or a text"),
        (lambda: p.index(["a", "b"]), "got ['a', 'b'] for `fields`, which is a text"),
        (lambda: p.index("a", uniqe=True), 'Did you mean "unique"?'),
        (lambda: p.index("a", where=5), "for `where`, which is a text"),
        (lambda: p.exists(), "It takes exists(entity, *conditions)"),
        (lambda: p.field("x"), "Write `field(default='x')`"),
        (lambda: p.field(uniqe=True), 'Did you mean "unique"?'),
        (lambda: p.App(), "It takes App(name, version='0.1.0', *, config=None)"),
        (lambda: p.App("x", debug=True), "unexpected keyword argument 'debug'"),
        (lambda: p.App(5), "App() got 5 for `name`"),
        (lambda: app().entity("C"), "app.entity() got 'C' for `cls`, which is a class"),
        (lambda: app().policy("p", entity=5), "app.policy() got 5 for `entity`"),
        (lambda: app().policy("p", reed=True), 'Did you mean "read"?'),
        (lambda: app().query("q", {"x": str}), "Write `app.query('q', input={'x': "),
        (lambda: app().action("q", input=["x"]), "for `input`, which is names with their types"),
        (lambda: app().action(len), "for `name`, which is a text"),
        (lambda: app().route("/", "static"), "Write `app.route('/', mode='static')`"),
        (lambda: app().route("/", mode="fast"), 'one of "live", "server", "static"'),
    ],
)
def test_what_does_not_fit_is_told_with_what_fits(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        call()
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"pattern": 5}, "has pattern=5, which is a text"),
        ({"min_length": "5"}, "has min_length='5', which is a whole number"),
        ({"unique": "yes"}, "has unique='yes', which is True or False"),
    ],
)
def test_a_word_of_a_field_of_another_kind_is_told_of(words: Any, told: str) -> None:
    made = app()

    @made.entity
    class Note(Entity):
        title: str = p.field(**words)

    with pytest.raises(SchemaError, match=told):
        made.manifest()


def test_a_hook_without_parentheses_is_told_of() -> None:
    with pytest.raises(TypeError, match=r'before_insert\("Note"\)'):
        app().hooks.before_insert(print)
