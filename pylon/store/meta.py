"""Statements over `_pylon_meta`, the table of single values that every store keeps."""

from __future__ import annotations

from typing import Final

NEWEST_SEQ: Final = "SELECT value FROM _pylon_meta WHERE key = 'seq'"
"""Position of the newest committed change; 0 when there is none yet."""
