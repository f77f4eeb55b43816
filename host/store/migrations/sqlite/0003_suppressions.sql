-- `stream` is `all`, a stream, or `topic:` and a topic. `rule`, `provider` and `mx` are set in entries
-- that a rule added.
CREATE TABLE suppression (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    address TEXT NOT NULL,
    stream TEXT NOT NULL,
    domain TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    message_id TEXT,
    created_at INTEGER NOT NULL,
    rule TEXT,
    provider TEXT,
    mx TEXT,
    PRIMARY KEY (tenant, address, stream)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppression_domain ON suppression (tenant, domain);
CREATE INDEX suppression_created ON suppression (tenant, created_at);
CREATE UNIQUE INDEX suppression_id ON suppression (tenant, id);
-- What a rule added in a time, in all tenants.
CREATE INDEX suppression_added_by_rule ON suppression (created_at) WHERE rule IS NOT NULL;

-- Failures of an address that suppress it when there are enough of them. A delivery forgets them.
CREATE TABLE suppression_count (
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    kind TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, address, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppression_count_last ON suppression_count (last_at);
