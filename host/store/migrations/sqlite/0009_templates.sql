-- The templates that a version names, by id or alias: what is in use is not deleted.
CREATE TABLE template_reference (
    tenant TEXT NOT NULL,
    template TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant, template, number, name),
    FOREIGN KEY (tenant, template, number) REFERENCES template_version (tenant, template, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX template_reference_name ON template_reference (tenant, name);
