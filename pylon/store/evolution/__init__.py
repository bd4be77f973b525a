"""Schema evolution: from the database that there is to the one that a manifest needs."""
