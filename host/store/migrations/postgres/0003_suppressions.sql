-- `stream` is `all`, a stream, or `topic:` and a topic.
CREATE TABLE suppression (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    address TEXT NOT NULL,
    stream TEXT NOT NULL,
    domain TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    message_id TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, address, stream)
);
CREATE INDEX suppression_domain ON suppression (tenant, domain);
CREATE INDEX suppression_created ON suppression (tenant, created_at);
CREATE UNIQUE INDEX suppression_id ON suppression (tenant, id);
