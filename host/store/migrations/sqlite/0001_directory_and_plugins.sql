CREATE TABLE revision (
    subject TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant (
    id TEXT NOT NULL PRIMARY KEY,
    settings TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE domain (
    name TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    settings TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX domain_tenant ON domain (tenant);

CREATE TABLE credential (
    username TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_tenant ON credential (tenant);

CREATE TABLE api_key (
    hash BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

INSERT INTO revision (subject, number) VALUES ('plugins', 0);

-- A plugin belongs to a tenant of the configuration file or of this store: no foreign key.
CREATE TABLE plugin (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    active TEXT,
    previous TEXT,
    shadow TEXT,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE component (
    digest TEXT NOT NULL PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;

CREATE TABLE plugin_version (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL REFERENCES component (digest),
    added_at INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, position),
    FOREIGN KEY (tenant, plugin) REFERENCES plugin (tenant, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX plugin_version_digest ON plugin_version (digest);

CREATE TABLE plugin_data (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (tenant, plugin, name),
    FOREIGN KEY (tenant, plugin) REFERENCES plugin (tenant, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
