"""Rows that several people edit at once: one Loro document beside each such row."""
