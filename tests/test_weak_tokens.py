"""Tokens that can be guessed are told apart from those that a generator printed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.weak_tokens import why_weak


@pytest.mark.parametrize(
    "token",
    [
        *("changemechangeme", "CHANGEME1234567890", "change-me-please-now", "ch4ng3-m3-pl3as3"),
        *("my-super-secret-admin-token", "your-admin-token-here", "secret-token-2024"),
        *("P@ssw0rdP@ssw0rd!", "password12345678", "qwertyuiopasdfghjkl", "letmeinletmein42"),
        *("replace-with-a-long-random-value", "pylon-admin-token", "supersecretadmintoken123"),
        *("aaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnopqrstuvwxyz", "12345678901234567890"),
        *("0123456789abcdef0123456789abcdef", "00000000-0000-0000-0000-000000000000"),
        *("deadbeefdeadbeef", "98765432109876543210", "zyxwvutsrqponmlkjihg"),
    ],
)
def test_what_can_be_guessed(token: str) -> None:
    assert why_weak(token)


@given(st.binary(min_size=32, max_size=32), st.uuids(version=4))
def test_what_generators_print_passes(drawn: bytes, number: object) -> None:
    # Hypothesis likes bytes that are alike; a generator's are not.
    random = bytes(a ^ b for a, b in zip(drawn, UNLIKE, strict=True))
    if len(set(random)) < 20:
        return
    assert why_weak(random.hex()) is None
    assert why_weak(base64.b64encode(random).decode()) is None
    assert why_weak(base64.urlsafe_b64encode(random[:16]).decode().rstrip("=")) is None


UNLIKE = bytes.fromhex("9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251f86c6a11d0c18e95")


@pytest.mark.parametrize(
    "token",
    [
        "7f3c9a51e0b84d26a1c5f09e3b7d8264c0a95e1f38b2d7469e5c10af83b6d247",
        "6fa459ea-ee8a-4ca4-894e-db77e160355e",
        "16fd2706-8baf-433b-82eb-8c7fada847da",
        "hV3rJ9x0pQm2TzLw8YbKcNf5sGd7AeUi",
        "Zm9v+YmFy/cXV4LTEyMw8sKQvN3rT0==",
        "correct-horse-battery-staple",
    ],
)
def test_tokens_of_known_shapes_pass(token: str) -> None:
    assert why_weak(token) is None
