-- People who sign in to the panel. Operators belong to no tenant; the tenant of another user is one of
-- the configuration file or of this store: no foreign key. `active`: the user can sign in.
CREATE TABLE user_account (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    tenant TEXT,
    role TEXT NOT NULL,
    subject TEXT UNIQUE,
    active INTEGER NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    signed_in_at INTEGER,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX user_account_tenant ON user_account (tenant, id);

CREATE TABLE user_session (
    user_id TEXT NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    client TEXT,
    user_agent TEXT NOT NULL,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_session_expiry ON user_session (expires_at);

-- Links that count once: one for each user. The one of no user, `''`, makes the first operator.
CREATE TABLE user_link (
    user_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
