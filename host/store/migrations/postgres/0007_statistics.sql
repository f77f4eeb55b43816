-- Sums of one hour: `hour` counts hours since 1970 in UTC. A row is about all mail of a tenant and
-- stream (`dimension` is `total`, `value` is empty) or about one value of a dimension.
CREATE TABLE statistics (
    tenant TEXT NOT NULL,
    dimension TEXT NOT NULL,
    hour BIGINT NOT NULL,
    stream TEXT NOT NULL,
    value TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    deferred BIGINT NOT NULL,
    bounced_hard BIGINT NOT NULL,
    bounced_soft BIGINT NOT NULL,
    bounced_block BIGINT NOT NULL,
    bounced_content BIGINT NOT NULL,
    bounced_other BIGINT NOT NULL,
    suppressed BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    canceled BIGINT NOT NULL,
    discarded BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    opened_human BIGINT NOT NULL,
    opened_unique BIGINT NOT NULL,
    opened_unique_human BIGINT NOT NULL,
    clicked BIGINT NOT NULL,
    clicked_human BIGINT NOT NULL,
    clicked_unique BIGINT NOT NULL,
    clicked_unique_human BIGINT NOT NULL,
    complained BIGINT NOT NULL,
    unsubscribed BIGINT NOT NULL,
    PRIMARY KEY (tenant, dimension, hour, stream, value)
);
CREATE INDEX statistics_hour ON statistics (hour);

-- Marks of a recipient, and of each link that it followed: what was counted as unique already.
-- `link` is 0 for the message itself. `previous` are the marks before the last change.
CREATE TABLE statistics_seen (
    message BYTEA NOT NULL,
    recipient BIGINT NOT NULL,
    link BIGINT NOT NULL,
    marks BIGINT NOT NULL,
    previous BIGINT NOT NULL,
    PRIMARY KEY (message, recipient, link)
);

-- The provider that the MX hosts of a recipient domain belong to. `seen_on` counts days since 1970.
CREATE TABLE statistics_site (
    domain TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    seen_on BIGINT NOT NULL
);
