-- What a store keeps of itself: values by key, and what was done to the schema.

-- step: 1
CREATE TABLE _pylon_meta (key TEXT PRIMARY KEY NOT NULL, value {untyped}) {without_rowid};

INSERT INTO _pylon_meta (key, value) VALUES ('seq', 0) ON CONFLICT (key) DO NOTHING;

CREATE TABLE _pylon_schema_history (
    id TEXT PRIMARY KEY NOT NULL,
    manifest_version {bigint} NOT NULL,
    app_version TEXT NOT NULL,
    applied_at TEXT NOT NULL,
    operation_count {bigint} NOT NULL,
    baseline TEXT NOT NULL,
    plan_json TEXT NOT NULL,
    manifest_json TEXT NOT NULL,
    migrations_json TEXT
);
