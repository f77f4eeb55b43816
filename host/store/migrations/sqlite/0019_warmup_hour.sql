-- Where nodes share an address: of `used`, what the hour (since 1970) has.
ALTER TABLE warmup ADD COLUMN hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE warmup ADD COLUMN in_hour INTEGER NOT NULL DEFAULT 0;
