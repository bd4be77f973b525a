-- What hooks of commits have still to be told, and what could not be told them; what was done under
-- a key.

-- step: 1
CREATE TABLE _pylon_outbox (
    hook TEXT NOT NULL,
    n {bigint} NOT NULL,
    seq {bigint} NOT NULL,
    kind TEXT NOT NULL,
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    identity TEXT NOT NULL,
    before TEXT,
    data TEXT NOT NULL,
    at {bigint} NOT NULL,
    tries {bigint} NOT NULL,
    due_at {bigint} NOT NULL,
    error TEXT,
    PRIMARY KEY (hook, n)
);

CREATE TABLE _pylon_outbox_dead (
    hook TEXT NOT NULL,
    seq {bigint} NOT NULL,
    kind TEXT NOT NULL,
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    identity TEXT NOT NULL,
    before TEXT,
    data TEXT NOT NULL,
    at {bigint} NOT NULL,
    tries {bigint} NOT NULL,
    error TEXT,
    died_at {bigint} NOT NULL,
    PRIMARY KEY (hook, seq)
);

CREATE INDEX _pylon_outbox_dead_by_time ON _pylon_outbox_dead (died_at);

-- step: 2
CREATE TABLE _pylon_once (
    caller TEXT NOT NULL,
    once_key TEXT NOT NULL,
    unit {bigint} NOT NULL,
    fingerprint {blob} NOT NULL,
    result TEXT NOT NULL,
    at {bigint} NOT NULL,
    PRIMARY KEY (caller, once_key, unit)
) {without_rowid};

CREATE INDEX _pylon_once_by_age ON _pylon_once (at);
