-- Sessions (spec 04 section 6); what a row is stands in queries.sql.

-- step: 1
CREATE TABLE _pylon_sessions (
    token_hash {blob} PRIMARY KEY NOT NULL,
    session_id {blob} NOT NULL,
    token_prefix TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at {bigint} NOT NULL,
    expires_at {bigint} NOT NULL,
    last_seen_at {bigint} NOT NULL,
    tenant_id TEXT,
    device TEXT,
    successor_salt {blob}
) {without_rowid};

CREATE INDEX _pylon_sessions_user_idx ON _pylon_sessions (user_id);

CREATE INDEX _pylon_sessions_exp_idx ON _pylon_sessions (expires_at);

CREATE INDEX _pylon_sessions_id_idx ON _pylon_sessions (session_id);

-- step: 2
-- Codes by which a second device joins a sign-in (pairing.py): one a session, the newest.
CREATE TABLE _pylon_pairings (
    session_id {blob} PRIMARY KEY NOT NULL,
    code_hash {blob} NOT NULL,
    expires_at {bigint} NOT NULL
) {without_rowid};

CREATE INDEX _pylon_pairings_code_idx ON _pylon_pairings (code_hash);

CREATE INDEX _pylon_pairings_exp_idx ON _pylon_pairings (expires_at);
