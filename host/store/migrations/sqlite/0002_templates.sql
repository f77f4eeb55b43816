-- A template belongs to a tenant of the configuration file or of this store: no foreign key.
CREATE TABLE template (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    alias TEXT,
    name TEXT NOT NULL,
    published INTEGER,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX template_alias ON template (tenant, alias);

CREATE TABLE template_version (
    tenant TEXT NOT NULL,
    template TEXT NOT NULL,
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, template, number),
    FOREIGN KEY (tenant, template) REFERENCES template (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
