-- What pushes leave behind: which operations were done, and which rows temporary ids became.

-- name: create_op_ids
CREATE TABLE IF NOT EXISTS _pylon_op_ids (
    user_id TEXT NOT NULL,
    op_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (user_id, op_id)
) WITHOUT ROWID;

-- name: create_op_ids_by_age
CREATE INDEX IF NOT EXISTS _pylon_op_ids_by_age ON _pylon_op_ids (at);

-- name: is_done
SELECT 1 FROM _pylon_op_ids WHERE user_id = ? AND op_id = ?;

-- name: remember_done
INSERT INTO _pylon_op_ids (user_id, op_id, at) VALUES (?, ?, ?);

-- name: purge_op_ids
DELETE FROM _pylon_op_ids WHERE (user_id, op_id) IN (
    SELECT user_id, op_id FROM _pylon_op_ids WHERE at < ? LIMIT ?
);

-- name: create_temporary_rows
CREATE TABLE IF NOT EXISTS _pylon_temporary_rows (
    seq INTEGER PRIMARY KEY NOT NULL,
    reader BLOB NOT NULL,
    user_id TEXT NOT NULL,
    entity TEXT NOT NULL,
    temporary_id TEXT NOT NULL,
    row_id TEXT NOT NULL,
    at INTEGER NOT NULL
);

-- name: create_temporary_rows_by_user
CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_user
ON _pylon_temporary_rows (user_id, temporary_id);

-- name: create_temporary_rows_by_reader
CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_reader ON _pylon_temporary_rows (reader, seq);

-- name: create_temporary_rows_by_age
CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_age ON _pylon_temporary_rows (at);

-- name: remember_temporary
INSERT INTO _pylon_temporary_rows (seq, reader, user_id, entity, temporary_id, row_id, at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: real_id
SELECT row_id FROM _pylon_temporary_rows
WHERE user_id = ? AND temporary_id = ? AND entity = ? ORDER BY seq DESC LIMIT 1;

-- name: forgotten
SELECT seq, entity, temporary_id, at FROM _pylon_temporary_rows
WHERE reader = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: any_forgotten
SELECT 1 FROM _pylon_temporary_rows WHERE seq > ? AND seq <= ? LIMIT 1;

-- name: purge_temporary_rows
DELETE FROM _pylon_temporary_rows WHERE seq IN (
    SELECT seq FROM _pylon_temporary_rows WHERE at < ? LIMIT ?
);

-- name: create_readers
CREATE TABLE IF NOT EXISTS _pylon_sync_readers (
    reader BLOB PRIMARY KEY NOT NULL,
    audience BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- name: create_readers_by_age
CREATE INDEX IF NOT EXISTS _pylon_sync_readers_by_age ON _pylon_sync_readers (at);

-- name: reader
SELECT audience, epoch, at FROM _pylon_sync_readers WHERE reader = ?;

-- name: save_reader
INSERT INTO _pylon_sync_readers (reader, audience, epoch, at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (reader) DO UPDATE SET
    audience = excluded.audience, epoch = excluded.epoch, at = excluded.at;

-- name: purge_readers
DELETE FROM _pylon_sync_readers WHERE reader IN (
    SELECT reader FROM _pylon_sync_readers WHERE at < ? LIMIT ?
);
