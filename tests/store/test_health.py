"""What the latest writes say of a store."""

from __future__ import annotations

import pytest

from pylon.store.health import FULL, GONE, Health


def trouble(health: Health) -> str | None:
    """A function, since the type checker does not expect an attribute to change by itself."""
    return health.trouble


@pytest.mark.parametrize("code", ["STORAGE_READ_ONLY", "LOCK_FAILED", "TX_COMMIT_FAILED"])
def test_a_trouble_lasts_until_a_commit_succeeds(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    for _ in range(3):
        health.failed(code)
    assert trouble(health) == code
    for _ in range(3):
        health.succeeded(has_room=False)
    assert trouble(health) is None
    assert len(caplog.records) == 2, "told once, and once that it is over"


def test_a_full_disk_needs_room_and_files_that_are_gone_a_restart() -> None:
    health = Health()
    health.failed(FULL)
    health.succeeded(has_room=False)
    assert trouble(health) == FULL
    health.succeeded(has_room=True)
    assert trouble(health) is None
    health.failed(GONE)
    health.failed(FULL)
    health.succeeded(has_room=True)
    assert health.is_gone


@pytest.mark.parametrize("code", ["POLICY_DENIED", "QUERY_TIMEOUT", "OVERLOADED", "INSERT_FAILED"])
def test_what_is_no_fault_of_the_store(code: str) -> None:
    health = Health()
    health.failed(code)
    assert trouble(health) is None
