"""docs/evolution.md and docs/backup.md name every code that a caller may see."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
CODES = re.compile(
    r'"((?:SCHEMA|RENAME|INDEX_NAME|PUSH|DIFF|INSPECT|HISTORY|MIGRATE|MIGRATION|BACKUP|RESTORE)'
    r'_[A-Z_]+)"'
)
NAMES = (
    *("cli/schema_command", "cli/migrate_command", "cli/backup_command", "cli/restore_command"),
    *("store/bundle", "store/restoring", "store/sqlite/exchange"),
)


def test_every_code_is_documented() -> None:
    files = [*(ROOT / "pylon/store/evolution").glob("*.py")]
    files += [ROOT / f"pylon/{name}.py" for name in NAMES]
    codes = {code for file in files for code in CODES.findall(file.read_text("utf-8"))}
    pages = "".join(
        (ROOT / f"docs/{name}.md").read_text("utf-8") for name in ("evolution", "backup")
    )
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in pages} == set()
