-- MTA-STS policies of recipient domains (RFC 8461). Times are milliseconds since 1970.
CREATE TABLE mta_sts_policy (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    fetched_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- What a node found of the TLS of a recipient domain on a day (RFC 8460), as JSON.
CREATE TABLE tls_tally (
    day BIGINT NOT NULL,
    domain TEXT NOT NULL,
    node TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (day, domain, node)
);
