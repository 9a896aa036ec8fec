-- +goose Up

-- One row per account, owned by permit. Every write to an account updates this row first, so that
-- writers queue here (guarantee, rule 1).
CREATE TABLE standing (
    account_id  TEXT NOT NULL PRIMARY KEY,
    version     BIGINT NOT NULL,
    epoch       BIGINT NOT NULL,
    frozen_at   BIGINT NOT NULL, -- 0 while not frozen
    restored_at BIGINT NOT NULL, -- 0 before the first restore
    chain_seq   BIGINT NOT NULL,
    chain_head  BYTEA NOT NULL
);

-- Positions of the change feed: the last number given out in each lane. A lane's row is updated
-- together with COMMIT, so numbers have no gaps and follow commit order (rule 6).
CREATE TABLE lane (
    lane     BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

INSERT INTO lane (lane, position) VALUES
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0),
    (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0), (15, 0);

-- The change feed: what was closed, in commit order within a lane.
CREATE TABLE closing (
    lane          BIGINT NOT NULL,
    position      BIGINT NOT NULL,
    account_id    TEXT NOT NULL,
    epoch         BIGINT NOT NULL,
    kind          TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    at            BIGINT NOT NULL,
    PRIMARY KEY (lane, position)
);

CREATE INDEX closing_account ON closing (account_id, at);

-- The evidence chain of each account. commitment = HMAC of the text under a salt of its own; text
-- and salt lie beside, sealed, so that they can be erased while the chain still verifies.
CREATE TABLE entry (
    account_id TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    act        TEXT NOT NULL,
    commitment BYTEA NOT NULL,
    hash       BYTEA NOT NULL,
    PRIMARY KEY (account_id, seq)
);

CREATE INDEX entry_act ON entry (account_id, act, seq);

CREATE TABLE entry_text (
    account_id TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    sealed     BYTEA NOT NULL, -- empty once erased
    erased_at  BIGINT NOT NULL,
    erased_why TEXT NOT NULL,
    PRIMARY KEY (account_id, seq)
);

-- Refusals, added up per actor, act and minute (rule 4). Where no account has the name that was
-- given, account_id is "?" and a keyed hash of the name, so that guessing at an unknown name meets
-- the same limit as guessing at a known one.
CREATE TABLE refusal (
    account_id TEXT NOT NULL,
    actor      TEXT NOT NULL,
    act        TEXT NOT NULL,
    code       TEXT NOT NULL,
    minute     BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    address    TEXT NOT NULL,
    PRIMARY KEY (account_id, act, minute, actor, code)
);

-- Counters of the public doors, per source and window.
CREATE TABLE attempt (
    bucket TEXT NOT NULL,
    start  BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (bucket, start)
);

-- only: postgres
-- A second lock: the chain is only ever added to. Nothing relies on it.
-- +goose StatementBegin
CREATE FUNCTION entry_is_final() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION 'the evidence chain is only ever added to';
END
$$ LANGUAGE plpgsql;
-- +goose StatementEnd
CREATE TRIGGER entry_no_update BEFORE UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION entry_is_final();
-- end
-- only: sqlite
-- +goose StatementBegin
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN
    SELECT RAISE(ABORT, 'the evidence chain is only ever added to');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN
    SELECT RAISE(ABORT, 'the evidence chain is only ever added to');
END;
-- +goose StatementEnd
-- end
