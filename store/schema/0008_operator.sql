-- +goose Up

-- People who may propose and approve restores, each with a key of their own. A removed one stays
-- here: its name is never used again, and those who were enrolled first are counted by it.
CREATE TABLE operator (
    name          TEXT NOT NULL PRIMARY KEY,
    public_key    BYTEA NOT NULL,  -- Ed25519
    added_at      BIGINT NOT NULL,
    added_by      TEXT NOT NULL,
    approves_from BIGINT NOT NULL, -- when the key begins to count for approving a restore
    removed_at    BIGINT NOT NULL  -- 0 while it works
);
