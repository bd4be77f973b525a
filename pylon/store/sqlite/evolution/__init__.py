"""Schema evolution on SQLite; what is pure of it is `store/evolution`."""
