-- Since when the cursors of a subject are good.

-- name: create_epochs
CREATE TABLE IF NOT EXISTS _pylon_epochs (
    subject TEXT PRIMARY KEY NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID;

-- name: create_epochs_by_seq
CREATE INDEX IF NOT EXISTS _pylon_epochs_by_seq ON _pylon_epochs (seq);

-- name: raise
INSERT INTO _pylon_epochs (subject, seq) VALUES (?, ?)
ON CONFLICT (subject) DO UPDATE SET seq = excluded.seq;

-- name: good_from
SELECT
    (SELECT value FROM _pylon_meta WHERE key = 'oldest_seq'),
    (SELECT coalesce(max(seq), 0) FROM _pylon_epochs WHERE subject IN (?, ?, ?, ?));

-- name: raised_after
SELECT EXISTS (SELECT 1 FROM _pylon_epochs WHERE seq > ?);
