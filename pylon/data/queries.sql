-- What hooks of commits have still to be told. `n` counts a hook's commits from 1 while any waits;
-- times are in milliseconds.

-- name: ends
SELECT (SELECT coalesce(min(n), 1) FROM _pylon_outbox WHERE hook = ?),
    (SELECT coalesce(max(n), 0) FROM _pylon_outbox WHERE hook = ?);

-- name: put
INSERT INTO _pylon_outbox
    (hook, n, seq, kind, entity, row_id, identity, before, data, at, tries, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0);

-- name: next
SELECT n, seq, kind, entity, row_id, identity, before, data, at, tries, due_at
FROM _pylon_outbox WHERE hook = ? ORDER BY n LIMIT ?;

-- name: settle
DELETE FROM _pylon_outbox WHERE hook = ? AND n <= ?;

-- name: postpone
UPDATE _pylon_outbox SET tries = ?, due_at = ?, error = ? WHERE hook = ? AND n = ?;

-- name: bury
INSERT INTO _pylon_outbox_dead
    (hook, seq, kind, entity, row_id, identity, before, data, at, tries, error, died_at)
SELECT hook, seq, kind, entity, row_id, identity, before, data, at, ?, ?, ?
FROM _pylon_outbox WHERE hook = ? AND n = ?;

-- name: names
SELECT hook, count(*) FROM _pylon_outbox GROUP BY hook ORDER BY hook;

-- name: count_dead
SELECT count(*) FROM _pylon_outbox_dead;

-- name: purge_dead
DELETE FROM _pylon_outbox_dead WHERE (hook, seq) IN (
    SELECT d.hook, d.seq FROM _pylon_outbox_dead d WHERE d.died_at < ?
    ORDER BY d.died_at, d.hook, d.seq LIMIT ?
);

-- name: purge_forsaken
DELETE FROM _pylon_outbox WHERE (hook, n) IN (
    SELECT o.hook, o.n FROM _pylon_outbox o WHERE o.hook = ? AND o.at < ?
    ORDER BY o.hook, o.n LIMIT ?
);

-- name: clear
DELETE FROM _pylon_outbox;

-- name: clear_dead
DELETE FROM _pylon_outbox_dead;
