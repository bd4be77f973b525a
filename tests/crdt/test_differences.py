"""Writing a list, tree or text by its difference gives just what was asked for."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loro import LoroDoc

from pylon import limits
from pylon.canonical import canonical_text
from pylon.codec import decode
from pylon.crdt.items import set_list
from pylon.crdt.text import merge_texts, set_text
from pylon.crdt.tree import set_tree
from pylon.crdt.values import check_list, check_tree, show

ITEMS = st.lists(
    st.one_of(st.integers(0, 5), st.sampled_from("ab"), st.just({"k": [1.5, None]})), max_size=12
)


@pytest.mark.parametrize("kind", ["get_list", "get_movable_list"])
@pytest.mark.parametrize("bound", [500, 2])
@given(have=ITEMS, want=ITEMS)
def test_lists(kind: str, bound: int, have: list[Any], want: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DOCUMENT_DIFF_ITEMS_MAX", bound)
        container = getattr(LoroDoc(), kind)("x")
        for target in (have, want):
            set_list(container, target)
            assert canonical_text(container.get_deep_value()) == canonical_text(target)


TREES: Any = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.fixed_dictionaries({"meta": st.dictionaries(st.sampled_from("xy"), st.integers(0, 3)),
                               "children": inner}),
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


def without_ids(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"meta": n["meta"], "children": without_ids(n["children"])} for n in nodes]


def flat(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for node in nodes for found in (node, *flat(node["children"]))]


@settings(max_examples=60)
@given(TREES, st.randoms())
def test_trees(first: list[dict[str, Any]], random: Any) -> None:
    tree = LoroDoc().get_tree("x")

    def shown() -> list[dict[str, Any]]:
        read: list[dict[str, Any]] = decode(show("tree", tree.get_value_with_meta()))
        return read

    set_tree(tree, first)
    assert without_ids(shown()) == without_ids(first)
    # The same nodes in another shape: each below a node that is placed before it, or at the root.
    nodes = [{**node, "children": []} for node in flat(shown())]
    random.shuffle(nodes)
    target: list[dict[str, Any]] = []
    placed: list[dict[str, Any]] = []
    for node in nodes:
        if random.random() < 0.2:
            continue  # deleted
        parent = random.choice([None, *placed])
        (target if parent is None else parent["children"]).append(node)
        placed.append(node)
    set_tree(tree, target)
    assert shown() == decode(canonical_text(target))


@given(st.text(max_size=30), st.text(max_size=30))
def test_texts(have: str, want: str) -> None:
    text = LoroDoc().get_text("x")
    set_text(text, have)
    set_text(text, want)
    assert text.to_string() == want


def test_a_text_whose_difference_takes_too_long_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_DIFF_MILLISECONDS", 0.0)
    text = LoroDoc().get_text("x")
    for value in ("ab" * 20_000, "ba" * 20_000 + "x", ""):
        set_text(text, value)
        assert text.to_string() == value


def test_two_edits_of_a_text_both_stay() -> None:
    assert merge_texts("one two", "one! two", "one two?") == "one! two?"
    assert merge_texts("a", "a", "b") == "b"
    assert merge_texts("a", "b", "a") == "b"


@pytest.mark.parametrize(
    "bad",
    [None, 1, "x", '{"a":1}', [float("nan")], [float("inf")], [b"x"], "[" * 200 + "]" * 200],
)
def test_what_is_no_list(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"array|made of|nested"):
        check_list(bad)


@pytest.mark.parametrize("value", [["x" * 600_000], '["' + "x" * 600_000 + '"]'])
@pytest.mark.parametrize("check", [check_list, check_tree])
def test_how_much_json_a_field_may_be(check: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="at most 524288 characters"):
        check(value)


@pytest.mark.parametrize(
    "bad", [[1], [{"x": 1}], [{"id": 1}], [{"meta": []}], [{"children": {}}], {"children": []}]
)
def test_what_is_no_tree(bad: Any) -> None:
    with pytest.raises(ValueError, match="array"):
        check_tree(bad)


def test_canonical_text_is_equal_for_equal_values() -> None:
    assert check_list('[ {"b": 2.0, "a": 1} ]') == check_list([{"a": 1, "b": 2}])
    assert check_list([1.5, 2.0**60, True, None]) == "[1.5,1.152921504606847e18,true,null]"


def test_texts_of_lists_are_bounded_as_bodies_are() -> None:
    many = "[[" + "[]," * limits.JSON_VALUES_MAX + "1]]"
    long = '["' + "x" * limits.DOCUMENT_BYTES_MAX + '"]'
    for text in (many, long, "[1e400]", "[" * 100_000):
        with pytest.raises(ValueError, match="a JSON array"):
            check_list(text)
    with pytest.raises(ValueError, match="values"):
        check_tree(many)
