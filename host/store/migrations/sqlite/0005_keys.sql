-- Keys and domains belong to a tenant of the configuration file or of this store: no foreign key.
DROP TABLE api_key;
CREATE TABLE api_key (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    previous_hash BLOB,
    previous_until INTEGER,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

-- Several tenants may claim a domain. One of them can prove that it is theirs.
DROP TABLE domain;
CREATE TABLE domain (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    verified_at INTEGER,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX domain_owner ON domain (name) WHERE verified_at IS NOT NULL;

-- Recipients of a tenant in an hour, a day or a month that began at `starts_at`.
CREATE TABLE quota_use (
    tenant TEXT NOT NULL,
    period TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (tenant, period, starts_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX quota_use_start ON quota_use (starts_at);

CREATE TABLE audit (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_at ON audit (at);
