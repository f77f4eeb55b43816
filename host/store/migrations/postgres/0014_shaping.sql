-- Mail of `subject` (`source:ADDRESS`, `pool:NAME`, `tenant:ID`) to a provider waits until `until`.
CREATE TABLE shaping_suspension (
    subject TEXT NOT NULL,
    provider TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (subject, provider)
);

-- Ends of suspensions that ended earlier: mail that was put off until then is due.
CREATE TABLE shaping_early_end (
    until BIGINT PRIMARY KEY
);

-- Warm-up of a source address at a provider. `used` is written ahead: less may have been sent.
CREATE TABLE warmup (
    address TEXT NOT NULL,
    provider TEXT NOT NULL,
    day BIGINT NOT NULL,
    step BIGINT NOT NULL,
    used BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    deferred BIGINT NOT NULL,
    complaints BIGINT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (address, provider)
);
