-- People who sign in to the panel. Operators belong to no tenant; the tenant of another user is one of
-- the configuration file or of this store: no foreign key. `active`: the user can sign in.
CREATE TABLE user_account (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    tenant TEXT,
    role TEXT NOT NULL,
    subject TEXT UNIQUE,
    active BIGINT NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX user_account_tenant ON user_account (tenant, id);

CREATE TABLE user_session (
    user_id TEXT NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    client TEXT,
    user_agent TEXT NOT NULL,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX user_session_expiry ON user_session (expires_at);

-- Links that count once: one for each user. The one of no user, `''`, makes the first operator.
CREATE TABLE user_link (
    user_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL
);
