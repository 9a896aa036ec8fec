-- +goose Up

-- The platform's own programs and the keys with which they speak to the API. A service is the set
-- of its keys: it has two while it changes from one to the other. A key counts while removed_at = 0.
CREATE TABLE service (
    key_id     TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    public_key BYTEA NOT NULL,  -- 32 bytes, Ed25519
    scopes     TEXT NOT NULL,   -- of "guard,accounts,sign_in,ledger", in this order, with commas
    return_to  TEXT NOT NULL,   -- addresses to which a sign-in may come back, with spaces
    created_at BIGINT NOT NULL,
    removed_at BIGINT NOT NULL  -- 0 while not removed
);

CREATE INDEX service_name ON service (name, created_at);
