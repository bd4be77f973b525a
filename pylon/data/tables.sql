-- What hooks of commits have still to be told, and what could not be told them.

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
