-- +goose Up

-- Links in mails. Only the hash of a link's secret is kept; the secret itself exists in the mail
-- and, until that is sent, sealed in its notice.
CREATE TABLE link (
    account_id  TEXT NOT NULL,
    link_id     TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    made_at     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    used_at     BIGINT NOT NULL, -- 0 until used
    mail        TEXT NOT NULL,   -- the address it was sent to
    PRIMARY KEY (account_id, link_id)
);

CREATE UNIQUE INDEX link_secret ON link (account_id, secret_hash);

-- What is told to whom: one row for each mail and recipient, written by the transaction that caused
-- it. sealed holds what the mail says until it is sent, then nothing.
CREATE TABLE notice (
    account_id TEXT NOT NULL,
    notice_id  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    recipient  TEXT NOT NULL,
    entry_seq  BIGINT NOT NULL, -- the evidence entry that the mail names
    sealed     BYTEA NOT NULL,
    made_at    BIGINT NOT NULL,
    sent_at    BIGINT NOT NULL, -- 0 until sent
    attempts   BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    PRIMARY KEY (account_id, notice_id)
);

CREATE INDEX notice_unsent ON notice (sent_at, made_at);

-- What was typed into a public form, sealed, until its job has dealt with it. It names no account:
-- whether there is one is found out after the form has been answered.
CREATE TABLE public_request (
    request_id TEXT NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    made_at    BIGINT NOT NULL
);

-- Mails kept on this machine instead of being sent; demonstrations only.
CREATE TABLE mailbox (
    mail_id   TEXT NOT NULL PRIMARY KEY,
    recipient TEXT NOT NULL,
    sealed    BYTEA NOT NULL,
    made_at   BIGINT NOT NULL
);

CREATE INDEX mailbox_made ON mailbox (made_at, mail_id);

CREATE TABLE dkim_key (
    domain    TEXT NOT NULL,
    selector  TEXT NOT NULL,
    algorithm TEXT NOT NULL, -- rsa or ed25519
    sealed    BYTEA NOT NULL,
    made_at   BIGINT NOT NULL,
    PRIMARY KEY (domain, selector)
);
