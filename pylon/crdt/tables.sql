-- Documents: a snapshot a row, the updates since, and what it costs to load.

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

-- step: 2
-- Microseconds of a processor that it takes to load a document's snapshot, where somebody has tried.
CREATE TABLE _pylon_crdt_costs (
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    load_micros {bigint} NOT NULL,
    PRIMARY KEY (entity, row_id)
) {without_rowid};
