-- Sessions (spec 04 section 6). A row is a token; the rows of one session_id are one sign-in
-- whose token was refreshed, and all but the newest of them are in their grace period.

-- name: create_sessions
CREATE TABLE IF NOT EXISTS _pylon_sessions (
    token_hash BLOB PRIMARY KEY NOT NULL,
    session_id BLOB NOT NULL,
    token_prefix TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    tenant_id TEXT,
    device TEXT,
    successor_salt BLOB
) WITHOUT ROWID;

-- name: create_sessions_by_user
CREATE INDEX IF NOT EXISTS _pylon_sessions_user_idx ON _pylon_sessions (user_id);

-- name: create_sessions_by_expiry
CREATE INDEX IF NOT EXISTS _pylon_sessions_exp_idx ON _pylon_sessions (expires_at);

-- name: create_sessions_by_id
CREATE INDEX IF NOT EXISTS _pylon_sessions_id_idx ON _pylon_sessions (session_id);

-- name: add
INSERT INTO _pylon_sessions (
    token_hash, session_id, token_prefix, user_id, created_at, expires_at, last_seen_at,
    tenant_id, device
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: find
SELECT session_id, token_hash, token_prefix, user_id, created_at, expires_at, last_seen_at,
    tenant_id, device, successor_salt
FROM _pylon_sessions WHERE token_hash = ?;

-- name: newest_of_session
SELECT user_id, tenant_id, expires_at FROM _pylon_sessions
WHERE session_id = ? AND successor_salt IS NULL;

-- name: list_of_user
SELECT session_id, token_hash, token_prefix, user_id, created_at, expires_at, last_seen_at,
    tenant_id, device, successor_salt
FROM _pylon_sessions
WHERE user_id = ?1 AND successor_salt IS NULL AND (expires_at = 0 OR expires_at > ?2)
ORDER BY created_at DESC, token_hash
LIMIT ?3;

-- name: replace
UPDATE _pylon_sessions SET
    successor_salt = ?2,
    expires_at = CASE WHEN expires_at = 0 THEN ?3 ELSE min(expires_at, ?3) END
WHERE token_hash = ?1;

-- name: set_user
UPDATE _pylon_sessions SET user_id = ?2 WHERE session_id = ?1 RETURNING token_hash;

-- name: set_tenant
UPDATE _pylon_sessions SET tenant_id = ?2 WHERE session_id = ?1 RETURNING token_hash;

-- name: set_last_seen
UPDATE _pylon_sessions SET last_seen_at = max(last_seen_at, ?2) WHERE token_hash = ?1;

-- name: end_by_token
DELETE FROM _pylon_sessions
WHERE session_id = (SELECT session_id FROM _pylon_sessions WHERE token_hash = ?)
RETURNING session_id, token_hash, successor_salt, expires_at;

-- name: end_by_id
DELETE FROM _pylon_sessions WHERE session_id = ?1 AND user_id = ?2
RETURNING session_id, token_hash, successor_salt, expires_at;

-- name: end_by_user
DELETE FROM _pylon_sessions WHERE user_id = ?
RETURNING session_id, token_hash, successor_salt, expires_at;

-- name: is_any_expired
SELECT 1 FROM _pylon_sessions WHERE expires_at > 0 AND expires_at <= ? LIMIT 1;

-- name: end_expired
DELETE FROM _pylon_sessions WHERE token_hash IN (
    SELECT token_hash FROM _pylon_sessions WHERE expires_at > 0 AND expires_at <= ?1 LIMIT ?2
)
RETURNING session_id, token_hash, successor_salt, expires_at;
