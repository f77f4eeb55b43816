-- When the renewal of an MTA-STS policy is tried next, in milliseconds since 1970.
ALTER TABLE mta_sts_policy ADD COLUMN renew_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX mta_sts_policy_renewal ON mta_sts_policy (renew_at);
