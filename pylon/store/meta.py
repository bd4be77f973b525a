"""Statements over `_pylon_meta`, the table of single values that every store keeps."""

from __future__ import annotations

from typing import Final

NEWEST_SEQ: Final = "SELECT value FROM _pylon_meta WHERE key = 'seq'"
"""Position of the newest committed change; 0 when there is none yet."""

PROBE: Final = (
    "INSERT INTO _pylon_meta (key, value) VALUES ('probes', 1)"
    " ON CONFLICT (key) DO UPDATE SET value = _pylon_meta.value + 1"
)
"""A write that changes something and matters to nobody; the value counts them."""
