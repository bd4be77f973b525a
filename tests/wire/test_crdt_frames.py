"""The frame codec of spec 03 section 5.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.wire.crdt_frames import (
    NAME_BYTES_MAX,
    SNAPSHOT,
    UPDATE,
    DocumentFrame,
    document_frame,
    read_document_frame,
)

EXAMPLE = bytes.fromhex("10 0007 4d657373616765 0007 6d73675f313233 abcdef")


def test_the_example_of_the_specification() -> None:
    assert document_frame(SNAPSHOT, "Message", "msg_123", b"\xab\xcd\xef") == EXAMPLE
    assert len(EXAMPLE) == 22
    read = read_document_frame(EXAMPLE)
    assert read == DocumentFrame(
        type=SNAPSHOT, entity="Message", row_id="msg_123", payload=b"\xab\xcd\xef"
    )


@given(st.sampled_from((SNAPSHOT, UPDATE)), st.text(), st.text(), st.binary())
def test_there_and_back(kind: int, entity: str, row_id: str, payload: bytes) -> None:
    read = read_document_frame(document_frame(kind, entity, row_id, payload))
    assert read == DocumentFrame(type=kind, entity=entity, row_id=row_id, payload=payload)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_none(data: bytes) -> None:
    read = read_document_frame(data)
    if read is not None:
        assert document_frame(read.type, read.entity, read.row_id, read.payload) == data


@pytest.mark.parametrize("length", range(19))
def test_a_cut_frame_is_none(length: int) -> None:
    assert read_document_frame(EXAMPLE[:length]) is None


def test_names_have_a_limit() -> None:
    longest = "é" * (NAME_BYTES_MAX // 2) + "x"
    assert read_document_frame(document_frame(UPDATE, longest, "", b"")) is not None
    with pytest.raises(ValueError, match="too long"):
        document_frame(UPDATE, longest + "x", "", b"")
