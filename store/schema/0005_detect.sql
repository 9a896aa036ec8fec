-- +goose Up

-- Signs of a takeover. day is the UTC day as a number: one sign of a rule a day, so that a thief
-- cannot bury the first mail under a hundred others.
CREATE TABLE sign (
    account_id TEXT NOT NULL,
    sign_id    TEXT NOT NULL,
    rule       TEXT NOT NULL,
    day        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    detail     TEXT NOT NULL,
    seen_at    BIGINT NOT NULL, -- 0 until the holder answered it
    PRIMARY KEY (account_id, sign_id)
);

CREATE UNIQUE INDEX sign_rule_day ON sign (account_id, rule, day);
