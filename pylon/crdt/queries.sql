-- Documents: a snapshot a row, and the updates since. `n` counts a document's updates.

-- name: any_of_entity
SELECT 1 FROM _pylon_crdt_snapshots WHERE entity = ? ORDER BY row_id LIMIT 1;

-- name: newest
SELECT coalesce((SELECT max(u.n) FROM _pylon_crdt_updates u
                 WHERE u.entity = s.entity AND u.row_id = s.row_id), s.n)
FROM _pylon_crdt_snapshots s WHERE s.entity = ? AND s.row_id = ?;

-- name: weight
SELECT c.load_micros, length(s.snapshot)
FROM _pylon_crdt_snapshots s
LEFT JOIN _pylon_crdt_costs c ON c.entity = s.entity AND c.row_id = s.row_id
WHERE s.entity = ? AND s.row_id = ?;

-- name: snapshot
SELECT n, snapshot FROM _pylon_crdt_snapshots WHERE entity = ? AND row_id = ?;

-- name: updates
SELECT data FROM _pylon_crdt_updates WHERE entity = ? AND row_id = ? ORDER BY n;

-- name: append
INSERT INTO _pylon_crdt_updates (entity, row_id, n, data) VALUES (?, ?, ?, ?);

-- name: save_snapshot
INSERT INTO _pylon_crdt_snapshots (entity, row_id, n, updated_at, snapshot)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (entity, row_id) DO UPDATE SET
    n = excluded.n, updated_at = excluded.updated_at, snapshot = excluded.snapshot;

-- name: save_cost
INSERT INTO _pylon_crdt_costs (entity, row_id, load_micros) VALUES (?, ?, ?)
ON CONFLICT (entity, row_id) DO UPDATE SET load_micros = excluded.load_micros;

-- name: forget_updates
DELETE FROM _pylon_crdt_updates WHERE entity = ? AND row_id = ?;

-- name: forget_snapshot
DELETE FROM _pylon_crdt_snapshots WHERE entity = ? AND row_id = ?;

-- name: forget_cost
DELETE FROM _pylon_crdt_costs WHERE entity = ? AND row_id = ?;
