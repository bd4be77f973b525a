-- The change log (design 4.3) and the epochs of its readers.

-- step: 1
CREATE TABLE _pylon_changes (
    seq {bigint} PRIMARY KEY NOT NULL,
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    born {bigint} NOT NULL,
    audiences TEXT,
    at {bigint} NOT NULL,
    UNIQUE (entity, row_id)
);

INSERT INTO _pylon_meta (key, value) VALUES ('oldest_seq', 0) ON CONFLICT (key) DO NOTHING;

INSERT INTO _pylon_meta (key, value) VALUES ('read_rules', '') ON CONFLICT (key) DO NOTHING;

CREATE TABLE _pylon_epochs (
    subject TEXT PRIMARY KEY NOT NULL,
    seq {bigint} NOT NULL
) {without_rowid};

CREATE INDEX _pylon_epochs_by_seq ON _pylon_epochs (seq);

-- step: 2
CREATE INDEX _pylon_changes_tombstones ON _pylon_changes (seq) WHERE kind = 'delete';
