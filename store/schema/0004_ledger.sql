-- +goose Up

-- Movements as the platform reports them. seq is the order in which they were recorded; the
-- account's standing row is held meanwhile, so it has no gaps. Amounts are canonical decimal text.
CREATE TABLE movement (
    account_id     TEXT NOT NULL,
    seq            BIGINT NOT NULL,
    reference      TEXT NOT NULL,
    asset          TEXT NOT NULL,
    delta          TEXT NOT NULL,
    balance_before TEXT NOT NULL,
    balance_after  TEXT NOT NULL,
    kind           TEXT NOT NULL,
    at             BIGINT NOT NULL,
    detail         TEXT NOT NULL,
    gap            BOOLEAN NOT NULL, -- balance_before is not what the movement before it left
    recorded_at    BIGINT NOT NULL,
    PRIMARY KEY (account_id, seq)
);

CREATE UNIQUE INDEX movement_reference ON movement (account_id, reference);
CREATE INDEX movement_at ON movement (account_id, at, seq);
CREATE INDEX movement_asset ON movement (account_id, asset, at, seq);

-- The last known balance of each asset, kept beside the movements so that reading it stays cheap.
CREATE TABLE balance (
    account_id TEXT NOT NULL,
    asset      TEXT NOT NULL,
    amount     TEXT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (account_id, asset)
);

-- The highest balance in each hour, so that "fell within 24 hours" is answered from a few rows even
-- where software trades every second. hour counts from 1970.
CREATE TABLE peak (
    account_id TEXT NOT NULL,
    asset      TEXT NOT NULL,
    hour       BIGINT NOT NULL,
    amount     TEXT NOT NULL,
    PRIMARY KEY (account_id, asset, hour)
);
