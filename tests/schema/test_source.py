"""JSON text as a tree that knows its places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import codec
from pylon.schema.source import Node, SourceError, read_document

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


@given(json_values, st.booleans())
def test_the_tree_holds_what_the_text_says(value: object, pretty: bool) -> None:
    text = codec.encode_pretty(value) if pretty else codec.encode(value)
    assert plain(read_document(text).root) == value


def test_places_count_from_one_and_paths_name_keys() -> None:
    document = read_document('{\n  "a": [1,\n   true]}')
    root = document.root.value
    assert isinstance(root, dict)
    items = root["a"].value
    assert isinstance(items, list)
    assert (items[1].path, document.place(items[1].offset)) == ("$.a[1]", (3, 4))


def test_keys_that_come_twice_are_told() -> None:
    document = read_document('{"a":1,"b":{"c":1,"c":2},"a":3}')
    assert [node.path for node in document.duplicates] == ["$.b.c", "$.a"]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (b"", "ends too early", (1, 1)),
        (b'{"a":1,\n]', "not JSON", (2, 1)),
        (b'"\n\xff"', "not UTF-8", (2, 1)),
        (b"[" * 100_000, "nested too deeply", (None, None)),
        (b"[" * 200 + b"]" * 200, "nested too deeply", (1, 102)),
        ('"\ud800"', "not UTF-8", (1, 2)),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(
    text: bytes | str, message: str, place: tuple[int | None, int | None]
) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        read_document(text)
    assert (raised.value.line, raised.value.column) == place


def test_a_byte_order_mark_is_allowed() -> None:
    assert plain(read_document(b"\xef\xbb\xbf[1]").root) == [1]
