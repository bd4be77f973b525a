-- Operations that were done, rows that temporary ids became, and what the cursors of sessions rest on.

-- step: 1
CREATE TABLE _pylon_op_ids (
    user_id TEXT NOT NULL,
    op_id TEXT NOT NULL,
    at {bigint} NOT NULL,
    PRIMARY KEY (user_id, op_id)
) {without_rowid};

CREATE INDEX _pylon_op_ids_by_age ON _pylon_op_ids (at);

CREATE TABLE _pylon_temporary_rows (
    seq {bigint} PRIMARY KEY NOT NULL,
    reader {blob} NOT NULL,
    user_id TEXT NOT NULL,
    entity TEXT NOT NULL,
    temporary_id TEXT NOT NULL,
    row_id TEXT NOT NULL,
    at {bigint} NOT NULL
);

CREATE INDEX _pylon_temporary_rows_by_user
ON _pylon_temporary_rows (user_id, temporary_id);

CREATE INDEX _pylon_temporary_rows_by_reader ON _pylon_temporary_rows (reader, seq);

CREATE INDEX _pylon_temporary_rows_by_age ON _pylon_temporary_rows (at);

CREATE TABLE _pylon_sync_readers (
    reader {blob} PRIMARY KEY NOT NULL,
    audience {blob} NOT NULL,
    epoch {bigint} NOT NULL,
    at {bigint} NOT NULL
) {without_rowid};

CREATE INDEX _pylon_sync_readers_by_age ON _pylon_sync_readers (at);
