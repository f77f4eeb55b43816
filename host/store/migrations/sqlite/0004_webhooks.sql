CREATE TABLE webhook_endpoint (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_reason TEXT,
    failing_since INTEGER,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_endpoint_tenant ON webhook_endpoint (tenant, id);

-- A delivery is of one event to one endpoint. Its body is made from the event log of its node when
-- it is sent.
CREATE TABLE webhook_delivery (
    endpoint TEXT NOT NULL REFERENCES webhook_endpoint (id) ON DELETE CASCADE,
    node TEXT NOT NULL,
    event INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    message_id TEXT,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, node, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_delivery_pending ON webhook_delivery (node, endpoint, next_at) WHERE status = 'pending';
CREATE INDEX webhook_delivery_newest ON webhook_delivery (endpoint, created_at);
CREATE INDEX webhook_delivery_created ON webhook_delivery (created_at);

CREATE TABLE webhook_attempt (
    endpoint TEXT NOT NULL,
    node TEXT NOT NULL,
    event INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    took INTEGER NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL,
    PRIMARY KEY (endpoint, node, event, number),
    FOREIGN KEY (endpoint, node, event) REFERENCES webhook_delivery (endpoint, node, event) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_attempt_newest ON webhook_attempt (endpoint, started_at);

-- Positions in the event log of readers that write into this store in the same transaction.
CREATE TABLE event_reader (
    name TEXT NOT NULL PRIMARY KEY,
    cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
