-- +goose Up

-- The account, owned by package account. Everything below begins with account_id, except the small
-- look-up tables mail_index and external_account.
CREATE TABLE account (
    account_id          TEXT NOT NULL PRIMARY KEY,
    mail                TEXT NOT NULL,   -- as in mail_index
    mail_verified_at    BIGINT NOT NULL, -- 0 until the link in the first mail was pressed
    phone               TEXT NOT NULL,   -- as typed in, never verified; empty for none
    password_hash       TEXT NOT NULL,   -- argon2id in PHC form; empty where the platform keeps the sign-in
    password_changed_at BIGINT NOT NULL, -- last change by the holder; 0 before the first
    password_reset_at   BIGINT NOT NULL, -- last reset by mail; 0 before the first
    mail_changed_at     BIGINT NOT NULL, -- 0 before the first change
    phone_changed_at    BIGINT NOT NULL, -- last change of a number that was there; 0 before the first
    limit_percent       BIGINT NOT NULL, -- a fall of the balance by more than this within a day is a sign
    language            TEXT NOT NULL,
    created_at          BIGINT NOT NULL
);

-- Which account an address signs in to now. mail is normalised: lower case, NFC. An address that was
-- never verified belongs to nobody yet: whoever verifies it first has it.
CREATE TABLE mail_index (
    mail        TEXT NOT NULL PRIMARY KEY,
    account_id  TEXT NOT NULL,
    verified_at BIGINT NOT NULL -- 0 until the link in its mail was pressed
);

-- The account under the platform's own name for it.
CREATE TABLE external_account (
    integrator  TEXT NOT NULL,
    external_id TEXT NOT NULL,
    account_id  TEXT NOT NULL,
    PRIMARY KEY (integrator, external_id)
);

CREATE UNIQUE INDEX external_account_account ON external_account (account_id, integrator);

-- Every address that the account had and that was verified; until_at is 0 for the present one.
CREATE TABLE account_mail (
    account_id TEXT NOT NULL,
    mail       TEXT NOT NULL,
    from_at    BIGINT NOT NULL,
    until_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, mail, from_at)
);

CREATE INDEX account_mail_mail ON account_mail (mail);

-- An address that waits for its link to be pressed: of a sign-up, or the new one of a change. It
-- belongs to the link that was made in the same transaction, so that only the link of the same
-- sign-up puts its password in force. Emptied once an address is verified.
CREATE TABLE pending_mail (
    account_id    TEXT NOT NULL,
    mail          TEXT NOT NULL,
    made_at       BIGINT NOT NULL, -- link.made_at
    purpose       TEXT NOT NULL,   -- "sign_up" or "change"
    phone         TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    PRIMARY KEY (account_id, mail, made_at)
);

-- A session is live while ended_at = 0, expires_at lies ahead, epoch equals standing.epoch, and
-- it was seen (table seen, kind "session", or created_at) within the idle time.
CREATE TABLE session (
    account_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    token_hash BYTEA NOT NULL,   -- SHA-256, see account.ParseToken
    kind       TEXT NOT NULL,    -- "holder", or "platform" when handed to an integrator
    parent     TEXT NOT NULL,    -- of a platform session: the session that handed over; else empty
    integrator TEXT NOT NULL,    -- of a platform session: to whom; else empty
    epoch      BIGINT NOT NULL,
    mode       TEXT NOT NULL,    -- "full" or "protective"
    device_id  TEXT NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    place      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,  -- 0 while not ended
    end_reason TEXT NOT NULL,
    PRIMARY KEY (account_id, session_id)
);

CREATE UNIQUE INDEX session_token ON session (account_id, token_hash);

-- A browser or app from which the account was used. A remembered one shows the secret of
-- remembered_hash at the next sign-in; it counts only in its epoch.
CREATE TABLE device (
    account_id      TEXT NOT NULL,
    device_id       TEXT NOT NULL,
    name            TEXT NOT NULL,
    browser         TEXT NOT NULL,
    system          TEXT NOT NULL,
    first_seen      BIGINT NOT NULL,
    remembered_hash BYTEA NOT NULL, -- empty when not remembered
    epoch           BIGINT NOT NULL,
    removed_at      BIGINT NOT NULL, -- 0 while not removed
    PRIMARY KEY (account_id, device_id)
);

-- An API key is live while deleted_at = 0, epoch equals standing.epoch, and expires_at is 0 or lies
-- ahead. A freeze suspends it by the epoch; only the holder enables it again, after a restore.
CREATE TABLE api_key (
    account_id      TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    kind            TEXT NOT NULL,   -- "hmac-sha256" or "ed25519"
    material        BYTEA NOT NULL,  -- sealed secret, or the 32 bytes of the public key
    label           TEXT NOT NULL,
    scopes          TEXT NOT NULL,   -- of "read,trade,withdraw", in this order, with commas
    addresses       TEXT NOT NULL,   -- prefixes with commas; empty for any address
    epoch           BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    created_session TEXT NOT NULL,
    created_device  TEXT NOT NULL,
    withdraw_from   BIGINT NOT NULL, -- when the scope withdraw begins to count; 0 without it
    expires_at      BIGINT NOT NULL, -- 0 for never
    deleted_at      BIGINT NOT NULL, -- 0 while not deleted
    PRIMARY KEY (account_id, key_id)
);

-- A session or key that the platform keeps itself and only told us about.
CREATE TABLE credential (
    account_id             TEXT NOT NULL,
    integrator             TEXT NOT NULL,
    external_credential_id TEXT NOT NULL,
    kind                   TEXT NOT NULL,   -- "session" or "api_key"
    scopes                 TEXT NOT NULL,   -- exits with commas; empty for all
    label                  TEXT NOT NULL,
    epoch                  BIGINT NOT NULL,
    address                TEXT NOT NULL,
    agent                  TEXT NOT NULL,
    created_at             BIGINT NOT NULL,
    expires_at             BIGINT NOT NULL, -- 0 for never
    ended_at               BIGINT NOT NULL, -- 0 while not ended
    PRIMARY KEY (account_id, integrator, external_credential_id)
);

-- Freeze codes, by keyed hash. A replaced one still freezes for a while: whoever stole a session
-- cannot make the printed sheet worthless by asking for a new one.
CREATE TABLE freeze_code (
    account_id  TEXT NOT NULL,
    hash        BYTEA NOT NULL,
    made_at     BIGINT NOT NULL,
    replaced_at BIGINT NOT NULL, -- 0 for the present one
    PRIMARY KEY (account_id, hash)
);

CREATE INDEX freeze_code_hash ON freeze_code (hash);

-- Codes sent by mail: purpose is "sign_in" or "password". bound_hash names the browser, or the
-- session, that asked.
CREATE TABLE mailed_code (
    account_id TEXT NOT NULL,
    bound_hash BYTEA NOT NULL,
    purpose    TEXT NOT NULL,
    code_hash  BYTEA NOT NULL,
    made_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    PRIMARY KEY (account_id, bound_hash, made_at)
);

-- One-time codes with which a browser comes back to the platform.
CREATE TABLE handover (
    account_id TEXT NOT NULL,
    code_hash  BYTEA NOT NULL,
    integrator TEXT NOT NULL,
    session_id TEXT NOT NULL,
    made_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    PRIMARY KEY (account_id, code_hash)
);

-- Housekeeping: when and from where a session, key or credential was last used, to the minute.
CREATE TABLE seen (
    account_id TEXT NOT NULL,
    kind       TEXT NOT NULL, -- "session", "api_key", "credential"
    id         TEXT NOT NULL,
    at         BIGINT NOT NULL,
    address    TEXT NOT NULL,
    PRIMARY KEY (account_id, kind, id)
);

-- Housekeeping: tries at a mailed code. Where no account has the address that was given,
-- account_id is "?" and a keyed hash of the address.
CREATE TABLE code_try (
    account_id TEXT NOT NULL,
    bound_hash BYTEA NOT NULL,
    tries      BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (account_id, bound_hash)
);
