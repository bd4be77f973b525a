-- What pushes leave behind: which operations were done, and which rows temporary ids became.

-- name: is_done
SELECT 1 FROM _pylon_op_ids WHERE user_id = ? AND op_id = ?;

-- name: remember_done
INSERT INTO _pylon_op_ids (user_id, op_id, at) VALUES (?, ?, ?);

-- name: purge_op_ids
DELETE FROM _pylon_op_ids WHERE (user_id, op_id) IN (
    SELECT user_id, op_id FROM _pylon_op_ids WHERE at < ? ORDER BY at, user_id, op_id LIMIT ?
);

-- name: count_op_ids
SELECT count(*) FROM _pylon_op_ids;

-- name: users_beyond
SELECT user_id, count(*) FROM _pylon_op_ids GROUP BY user_id HAVING count(*) > ? ORDER BY user_id;

-- name: oldest_op_ids
SELECT user_id, op_id FROM _pylon_op_ids WHERE user_id = ? ORDER BY at, op_id LIMIT ?;

-- name: forget_op_id
DELETE FROM _pylon_op_ids WHERE user_id = ? AND op_id = ?;

-- name: remember_temporary
INSERT INTO _pylon_temporary_rows (seq, reader, user_id, entity, temporary_id, row_id, at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: real_id
SELECT row_id FROM _pylon_temporary_rows
WHERE user_id = ? AND temporary_id = ? AND entity = ? ORDER BY seq DESC LIMIT 1;

-- name: forgotten
SELECT seq, entity, temporary_id, at FROM _pylon_temporary_rows
WHERE reader = ? AND user_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: any_forgotten
SELECT 1 FROM _pylon_temporary_rows WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT 1;

-- name: count_temporary_rows
SELECT count(*) FROM _pylon_temporary_rows;

-- name: purge_temporary_rows
DELETE FROM _pylon_temporary_rows WHERE seq IN (
    SELECT seq FROM _pylon_temporary_rows WHERE at < ? ORDER BY at, seq LIMIT ?
);

-- name: erase_op_ids
DELETE FROM _pylon_op_ids WHERE (user_id, op_id) IN (
    SELECT user_id, op_id FROM _pylon_op_ids WHERE user_id = ? ORDER BY user_id, op_id LIMIT ?
);

-- name: erase_temporary_rows
DELETE FROM _pylon_temporary_rows WHERE seq IN (
    SELECT seq FROM _pylon_temporary_rows WHERE user_id = ? ORDER BY temporary_id, seq LIMIT ?
);

-- name: reader
SELECT audience, epoch, at FROM _pylon_sync_readers WHERE reader = ?;

-- name: save_reader
INSERT INTO _pylon_sync_readers (reader, audience, epoch, at) VALUES (?, ?, ?, ?)
ON CONFLICT (reader) DO UPDATE SET
    audience = excluded.audience, epoch = excluded.epoch, at = excluded.at;

-- name: purge_readers
DELETE FROM _pylon_sync_readers WHERE reader IN (
    SELECT reader FROM _pylon_sync_readers WHERE at < ? ORDER BY at, reader LIMIT ?
);
