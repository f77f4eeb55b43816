-- What recipients can leave without leaving the rest. A topic is left by an entry of `suppression`;
-- `topic_subscription` has those who chose a topic that nobody gets unasked.
CREATE TABLE topic (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    chosen_only BIGINT NOT NULL,
    public BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX topic_name ON topic (tenant, name);

CREATE TABLE topic_subscription (
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    topic TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, address, topic),
    FOREIGN KEY (tenant, topic) REFERENCES topic (tenant, id) ON DELETE CASCADE
);
CREATE INDEX topic_subscription_topic ON topic_subscription (tenant, topic);
