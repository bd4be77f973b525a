-- Sessions (spec 04 section 6). A row is a token; the rows of one session_id are one sign-in
-- whose token was refreshed, and all but the newest of them are in their grace period.

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
WHERE user_id = ? AND successor_salt IS NULL AND (expires_at = 0 OR expires_at > ?)
ORDER BY created_at DESC, token_hash
LIMIT ?;

-- name: kept_of_user
SELECT device, created_at, expires_at, last_seen_at FROM _pylon_sessions
WHERE user_id = ? AND successor_salt IS NULL
ORDER BY created_at, token_hash;

-- name: replace
UPDATE _pylon_sessions SET
    successor_salt = ?,
    expires_at = CASE WHEN expires_at = 0 OR expires_at > ? THEN ? ELSE expires_at END
WHERE token_hash = ?;

-- name: set_user
UPDATE _pylon_sessions SET user_id = ? WHERE session_id = ? RETURNING token_hash;

-- name: set_tenant
UPDATE _pylon_sessions SET tenant_id = ? WHERE session_id = ? RETURNING token_hash;

-- name: set_last_seen
UPDATE _pylon_sessions SET last_seen_at = ? WHERE token_hash = ? AND last_seen_at < ?;

-- name: end_by_token
DELETE FROM _pylon_sessions
WHERE session_id = (SELECT session_id FROM _pylon_sessions WHERE token_hash = ?)
RETURNING session_id, token_hash, successor_salt, expires_at, user_id, tenant_id;

-- name: end_by_id
DELETE FROM _pylon_sessions WHERE session_id = ? AND user_id = ?
RETURNING session_id, token_hash, successor_salt, expires_at, user_id, tenant_id;

-- name: end_by_user
DELETE FROM _pylon_sessions WHERE token_hash IN (
    SELECT token_hash FROM _pylon_sessions WHERE user_id = ? ORDER BY token_hash LIMIT ?
)
RETURNING session_id, token_hash, successor_salt, expires_at, user_id, tenant_id;

-- name: is_any_expired
SELECT 1 FROM _pylon_sessions WHERE expires_at > 0 AND expires_at <= ?
ORDER BY expires_at LIMIT 1;

-- name: end_expired
DELETE FROM _pylon_sessions WHERE token_hash IN (
    SELECT token_hash FROM _pylon_sessions WHERE expires_at > 0 AND expires_at <= ?
    ORDER BY expires_at, token_hash LIMIT ?
)
RETURNING session_id, token_hash, successor_salt, expires_at, user_id, tenant_id;

-- name: delete_some
DELETE FROM _pylon_sessions WHERE token_hash IN (
    SELECT token_hash FROM _pylon_sessions ORDER BY token_hash LIMIT ?
);

-- name: offer_pairing
INSERT INTO _pylon_pairings (session_id, code_hash, expires_at) VALUES (?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET
    code_hash = excluded.code_hash, expires_at = excluded.expires_at;

-- name: take_pairing
DELETE FROM _pylon_pairings WHERE code_hash = ? RETURNING session_id, expires_at;

-- name: is_any_pairing_over
SELECT 1 FROM _pylon_pairings WHERE expires_at <= ? ORDER BY expires_at LIMIT 1;

-- name: delete_pairings_over
DELETE FROM _pylon_pairings WHERE session_id IN (
    SELECT session_id FROM _pylon_pairings WHERE expires_at <= ?
    ORDER BY expires_at, session_id LIMIT ?
);
