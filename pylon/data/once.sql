-- What was done under an Idempotency-Key: a row for each unit of a request.

-- name: find
SELECT fingerprint, result FROM _pylon_once WHERE caller = ? AND once_key = ? AND unit = ?;

-- name: fingerprint
SELECT fingerprint FROM _pylon_once WHERE caller = ? AND once_key = ? ORDER BY unit LIMIT 1;

-- name: keep
INSERT INTO _pylon_once (caller, once_key, unit, fingerprint, result, at)
VALUES (?, ?, ?, ?, ?, ?);

-- name: count
SELECT count(*) FROM _pylon_once;

-- name: callers_beyond
SELECT caller, count(*) FROM _pylon_once GROUP BY caller HAVING count(*) > ? ORDER BY caller;

-- name: oldest
SELECT caller, once_key, unit FROM _pylon_once
WHERE caller = ? ORDER BY at, once_key, unit LIMIT ?;

-- name: forget
DELETE FROM _pylon_once WHERE caller = ? AND once_key = ? AND unit = ?;

-- name: purge
DELETE FROM _pylon_once WHERE (caller, once_key, unit) IN (
    SELECT o.caller, o.once_key, o.unit FROM _pylon_once o WHERE o.at < ?
    ORDER BY o.at, o.caller, o.once_key, o.unit LIMIT ?
);

-- name: erase
DELETE FROM _pylon_once WHERE (caller, once_key, unit) IN (
    SELECT o.caller, o.once_key, o.unit FROM _pylon_once o WHERE o.caller = ?
    ORDER BY o.caller, o.once_key, o.unit LIMIT ?
);
