CREATE TABLE revision (
    subject TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);

CREATE TABLE tenant (
    id TEXT NOT NULL PRIMARY KEY,
    settings TEXT NOT NULL
);

CREATE TABLE domain (
    name TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    settings TEXT NOT NULL
);
CREATE INDEX domain_tenant ON domain (tenant);

CREATE TABLE credential (
    username TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL
);
CREATE INDEX credential_tenant ON credential (tenant);

CREATE TABLE api_key (
    hash BYTEA NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (tenant, name)
);

INSERT INTO revision (subject, number) VALUES ('plugins', 0);

-- A plugin belongs to a tenant of the configuration file or of this store: no foreign key.
CREATE TABLE plugin (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    active TEXT,
    previous TEXT,
    shadow TEXT,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE component (
    digest TEXT NOT NULL PRIMARY KEY,
    content BYTEA NOT NULL
);

CREATE TABLE plugin_version (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    position BIGINT NOT NULL,
    digest TEXT NOT NULL REFERENCES component (digest),
    added_at BIGINT NOT NULL,
    octets BIGINT NOT NULL,
    PRIMARY KEY (tenant, plugin, position),
    FOREIGN KEY (tenant, plugin) REFERENCES plugin (tenant, name) ON DELETE CASCADE
);
CREATE INDEX plugin_version_digest ON plugin_version (digest);

CREATE TABLE plugin_data (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (tenant, plugin, name),
    FOREIGN KEY (tenant, plugin) REFERENCES plugin (tenant, name) ON DELETE CASCADE
);
