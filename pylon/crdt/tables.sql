-- Documents: a snapshot a row, and the updates since.

-- step: 1
CREATE TABLE _pylon_crdt_snapshots (
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    n {bigint} NOT NULL,
    updated_at TEXT NOT NULL,
    snapshot {blob} NOT NULL,
    PRIMARY KEY (entity, row_id)
);

CREATE TABLE _pylon_crdt_updates (
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    n {bigint} NOT NULL,
    data {blob} NOT NULL,
    PRIMARY KEY (entity, row_id, n)
) {without_rowid};
