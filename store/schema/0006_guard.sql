-- +goose Up

-- Holds that somebody placed: a timed block on one exit. Holds that follow from facts, such as a
-- password change, are derived when asked and have no row. A row is never shortened.
CREATE TABLE hold (
    account_id TEXT NOT NULL,
    exit       TEXT NOT NULL,
    hold_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    began_at   BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL,
    PRIMARY KEY (account_id, exit, hold_id)
);

-- Who pressed Freeze, when, with what proof. A second press on a frozen account is kept too.
CREATE TABLE freeze_press (
    account_id TEXT NOT NULL,
    epoch      BIGINT NOT NULL,
    press_id   TEXT NOT NULL,
    at         BIGINT NOT NULL,
    channel    TEXT NOT NULL,
    reason     TEXT NOT NULL,
    PRIMARY KEY (account_id, epoch, press_id)
);

-- The answers of the enforcers to a freeze. closed_at = 0 means not confirmed yet.
CREATE TABLE receipt (
    account_id TEXT NOT NULL,
    epoch      BIGINT NOT NULL,
    exit       TEXT NOT NULL,
    enforcer   TEXT NOT NULL,
    closed_at  BIGINT NOT NULL,
    stopped    BIGINT NOT NULL,
    detail     TEXT NOT NULL,
    PRIMARY KEY (account_id, epoch, exit, enforcer)
);

-- What closes exits outside Holdfast, as its integrator declared it.
CREATE TABLE enforcer (
    integrator TEXT NOT NULL,
    exit       TEXT NOT NULL,
    title      TEXT NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (integrator, exit)
);

CREATE TABLE withdrawal (
    account_id      TEXT NOT NULL,
    withdrawal_id   TEXT NOT NULL,
    integrator      TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    content_hash    BYTEA NOT NULL,
    state           TEXT NOT NULL,
    asset           TEXT NOT NULL,
    amount          TEXT NOT NULL, -- canonical decimal
    address         TEXT NOT NULL,
    network         TEXT NOT NULL,
    internal        BOOLEAN NOT NULL,
    reference       TEXT NOT NULL,
    credential_kind TEXT NOT NULL,
    credential_id   TEXT NOT NULL,
    epoch           BIGINT NOT NULL,
    requested_at    BIGINT NOT NULL,
    confirmed_at    BIGINT NOT NULL,
    send_before     BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    outcome         TEXT NOT NULL,
    PRIMARY KEY (account_id, withdrawal_id),
    UNIQUE (account_id, integrator, idempotency_key)
);

CREATE INDEX withdrawal_state ON withdrawal (account_id, state);

CREATE TABLE restore_plan (
    account_id  TEXT NOT NULL,
    plan_id     TEXT NOT NULL,
    epoch       BIGINT NOT NULL, -- of the freeze that it would end
    reason      TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at BIGINT NOT NULL,
    approved_by TEXT NOT NULL,
    approved_at BIGINT NOT NULL,
    keep_password BOOLEAN NOT NULL, -- the old password goes on working; without it the holder chooses a new one
    PRIMARY KEY (account_id, plan_id)
);
