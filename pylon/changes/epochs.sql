-- Since when the cursors of a subject are good.

-- name: raise
INSERT INTO _pylon_epochs (subject, seq) VALUES (?, ?)
ON CONFLICT (subject) DO UPDATE SET seq = excluded.seq;

-- name: good_from
SELECT
    (SELECT value FROM _pylon_meta WHERE key = 'oldest_seq'),
    (SELECT coalesce(max(seq), 0) FROM _pylon_epochs WHERE subject IN (?, ?, ?, ?));

-- name: raised_after
SELECT EXISTS (SELECT 1 FROM _pylon_epochs WHERE seq > ?);
