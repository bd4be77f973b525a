"""Identifiers."""

from __future__ import annotations

import re

import pytest

from pylon import ids


def test_row_ids_rise_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1_000, 2_000, 2_000, 5, 1_999, 3_000])
    monkeypatch.setattr("pylon.ids.time.time_ns", lambda: next(times))
    make = ids.RowIds()
    made = [make.new() for _ in range(6)]
    assert made == sorted(set(made))
    assert all(re.fullmatch(r"[0-9a-f]{40}", each) for each in made)
    assert int(made[0][:32], 16) == 1_000
    assert int(made[-1][:32], 16) == 3_000


def test_the_counter_wraps() -> None:
    make = ids.RowIds()
    make._counter = 0xFFFF_FFFF
    assert make.new().endswith("00000000")


@pytest.mark.parametrize(
    ("value", "is_fine"),
    [
        ("0" * 40, True),
        ("c03d553f-bddf-4f02-9c4f-a0efd8d9765a", True),
        ("018f4d6e-7a2b-7c3d-9e4f-0123456789ab", True),
        ("9154F696-8872-4A7B-AA2E-E22B63EC197E", True),
        ("861c48aa-eafa-11f1-8eb0-02fc00000001", False),
        ("0" * 39, False),
        ("0" * 41, False),
        ("0" * 40 + "\n", False),
        ("g" * 40, False),
        ("", False),
        (None, False),
        (1, False),
    ],
)
def test_ids_that_clients_may_choose(value: object, is_fine: bool) -> None:
    assert ids.is_well_formed_row_id(value) is is_fine


def test_secrets_have_their_shape_and_never_repeat() -> None:
    for make, shape in (
        (ids.new_session_token, r"pylon_[0-9a-f]{64}"),
        (ids.new_guest_user_id, r"guest_[0-9a-f]{32}"),
        (ids.new_request_id, r"[0-9a-f]{16}"),
    ):
        made = {make() for _ in range(50)}
        assert len(made) == 50
        assert all(re.fullmatch(shape, each) for each in made)


def test_tokens_are_hashed_and_compared_whatever_they_hold() -> None:
    assert len(ids.token_hash("pylon_x")) == 32
    assert ids.token_hash("a") != ids.token_hash("b")
    assert ids.token_hash("\ud800") == ids.token_hash("\ud800")
    assert ids.same_secret("é\ud800", "é\ud800")
    assert not ids.same_secret("a", "b")
    assert not ids.same_secret("a", "")
