-- What recipients can leave without leaving the rest. A topic is left by an entry of `suppression`;
-- `topic_subscription` has those who chose a topic that nobody gets unasked.
CREATE TABLE topic (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    chosen_only INTEGER NOT NULL,
    public INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX topic_name ON topic (tenant, name);

CREATE TABLE topic_subscription (
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    topic TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, address, topic),
    FOREIGN KEY (tenant, topic) REFERENCES topic (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX topic_subscription_topic ON topic_subscription (tenant, topic);
