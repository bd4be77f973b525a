-- The change log: the latest change of each row, in commit order (design 4.3).

-- name: append
INSERT INTO _pylon_changes (seq, entity, row_id, kind, born, audiences, at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, row_id) DO UPDATE SET
    seq = excluded.seq,
    kind = excluded.kind,
    born = CASE WHEN excluded.kind = 'insert' THEN excluded.born ELSE _pylon_changes.born END,
    audiences = coalesce(excluded.audiences, _pylon_changes.audiences),
    at = excluded.at;

-- name: audiences_of_row
SELECT audiences FROM _pylon_changes WHERE entity = ? AND row_id = ?;

-- name: oldest_seq
SELECT value FROM _pylon_meta WHERE key = 'oldest_seq';

-- name: raise_oldest_seq
INSERT INTO _pylon_meta (key, value) VALUES ('oldest_seq', CAST(? AS BIGINT))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE CAST(_pylon_meta.value AS BIGINT) < CAST(excluded.value AS BIGINT);

-- name: tombstones_before
SELECT seq FROM _pylon_changes WHERE kind = 'delete' AND at < ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: count_tombstones
SELECT count(*) FROM _pylon_changes WHERE kind = 'delete';

-- name: purge_tombstone
DELETE FROM _pylon_changes WHERE kind = 'delete' AND seq = ?;

-- name: seq_at
SELECT coalesce(max(seq), 0) FROM _pylon_changes WHERE at < ?;

-- name: read_rules
SELECT value FROM _pylon_meta WHERE key = 'read_rules';

-- name: save_read_rules
UPDATE _pylon_meta SET value = ? WHERE key = 'read_rules';
