-- Mail of `subject` (`source:ADDRESS`, `pool:NAME`, `tenant:ID`) to a provider waits until `until`.
CREATE TABLE shaping_suspension (
    subject TEXT NOT NULL,
    provider TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (subject, provider)
) STRICT, WITHOUT ROWID;

-- Ends of suspensions that ended earlier: mail that was put off until then is due.
CREATE TABLE shaping_early_end (
    until INTEGER PRIMARY KEY
) STRICT;

-- Warm-up of a source address at a provider. `used` is written ahead: less may have been sent.
CREATE TABLE warmup (
    address TEXT NOT NULL,
    provider TEXT NOT NULL,
    day INTEGER NOT NULL,
    step INTEGER NOT NULL,
    used INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    complaints INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (address, provider)
) STRICT, WITHOUT ROWID;
