"""Change events and pull pages as bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import decode, encode
from pylon.wire.events import event_json, pull_page_json, sse_event


@given(
    st.text(), st.text(), st.integers(1, 2**53), st.none() | st.dictionaries(st.text(), st.text())
)
def test_an_event_is_json_whatever_the_names_hold(
    entity: str, row_id: str, seq: int, data: dict[str, str] | None
) -> None:
    made = event_json(
        seq=seq,
        entity=entity,
        row_id=row_id,
        kind="update",
        data=None if data is None else encode(data),
        timestamp="2026-01-01T00:00:00Z",
    )
    event = decode(made)
    assert event.pop("data", None) == data
    assert event == {
        "seq": seq,
        "entity": entity,
        "row_id": row_id,
        "kind": "update",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    assert b"\n" not in made, "one line, as server-sent events need it"
    assert sse_event(made, seq) == b"id: %d\ndata: %b\n\n" % (seq, made)


def test_a_page() -> None:
    assert pull_page_json([], last_seq=0, has_more=False) == (
        b'{"changes":[],"cursor":{"last_seq":0},"has_more":false}'
    )
    page = decode(pull_page_json([b"1", b"2"], last_seq=9, has_more=True))
    assert page == {"changes": [1, 2], "cursor": {"last_seq": 9}, "has_more": True}
