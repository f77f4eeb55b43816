-- Sums of one hour: `hour` counts hours since 1970 in UTC. A row is about all mail of a tenant and
-- stream (`dimension` is `total`, `value` is empty) or about one value of a dimension.
CREATE TABLE statistics (
    tenant TEXT NOT NULL,
    dimension TEXT NOT NULL,
    hour INTEGER NOT NULL,
    stream TEXT NOT NULL,
    value TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    bounced_hard INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    bounced_block INTEGER NOT NULL,
    bounced_content INTEGER NOT NULL,
    bounced_other INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    canceled INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    opened_human INTEGER NOT NULL,
    opened_unique INTEGER NOT NULL,
    opened_unique_human INTEGER NOT NULL,
    clicked INTEGER NOT NULL,
    clicked_human INTEGER NOT NULL,
    clicked_unique INTEGER NOT NULL,
    clicked_unique_human INTEGER NOT NULL,
    complained INTEGER NOT NULL,
    unsubscribed INTEGER NOT NULL,
    PRIMARY KEY (tenant, dimension, hour, stream, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX statistics_hour ON statistics (hour);

-- Marks of a recipient, and of each link that it followed: what was counted as unique already.
-- `link` is 0 for the message itself. `previous` are the marks before the last change.
CREATE TABLE statistics_seen (
    message BLOB NOT NULL,
    recipient INTEGER NOT NULL,
    link INTEGER NOT NULL,
    marks INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    PRIMARY KEY (message, recipient, link)
) STRICT, WITHOUT ROWID;

-- The provider that the MX hosts of a recipient domain belong to. `seen_on` counts days since 1970.
CREATE TABLE statistics_site (
    domain TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    seen_on INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
