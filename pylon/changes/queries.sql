-- The change log: the latest change of each row, in commit order (design 4.3).

-- name: create_log
CREATE TABLE IF NOT EXISTS _pylon_changes (
    seq INTEGER PRIMARY KEY NOT NULL,
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    born INTEGER NOT NULL,
    audiences TEXT,
    at INTEGER NOT NULL,
    UNIQUE (entity, row_id)
);

-- name: create_positions
INSERT OR IGNORE INTO _pylon_meta (key, value) VALUES ('oldest_seq', 0), ('read_rules', '');

-- name: append
INSERT INTO _pylon_changes (seq, entity, row_id, kind, born, audiences, at)
VALUES (?1, ?2, ?3, ?4, ?1, ?5, ?6)
ON CONFLICT (entity, row_id) DO UPDATE SET
    seq = excluded.seq,
    kind = excluded.kind,
    born = CASE WHEN excluded.kind = 'insert' THEN excluded.born ELSE born END,
    audiences = coalesce(excluded.audiences, audiences),
    at = excluded.at;

-- name: audiences_of_row
SELECT audiences FROM _pylon_changes WHERE entity = ? AND row_id = ?;

-- name: oldest_seq
SELECT value FROM _pylon_meta WHERE key = 'oldest_seq';

-- name: raise_oldest_seq
UPDATE _pylon_meta SET value = max(value, ?) WHERE key = 'oldest_seq';

-- name: tombstones_before
SELECT seq FROM _pylon_changes WHERE kind = 'delete' AND at < ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: purge_tombstone
DELETE FROM _pylon_changes WHERE kind = 'delete' AND seq = ?;

-- name: seq_at
SELECT coalesce(max(seq), 0) FROM _pylon_changes WHERE at < ?;

-- name: read_rules
SELECT value FROM _pylon_meta WHERE key = 'read_rules';

-- name: save_read_rules
UPDATE _pylon_meta SET value = ? WHERE key = 'read_rules';
