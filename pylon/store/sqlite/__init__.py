"""SQLite: everything that knows this database stands here (design 4.1)."""
