-- The whole state of the exchange. Amounts are canonical decimal text, times are
-- microseconds UTC. account_id is Holdfast's.

CREATE TABLE users (
  account_id   TEXT PRIMARY KEY,
  uid          INTEGER NOT NULL UNIQUE,
  mail         TEXT NOT NULL DEFAULT '',
  fast         INTEGER NOT NULL DEFAULT 1, -- internal transfers skip the withdrawal delay
  created_at   INTEGER NOT NULL
) STRICT;

-- What Holdfast last told us of an account. epoch only grows; an answer of Holdfast that
-- carries a lower one is out of date and is not acted on.
CREATE TABLE standing (
  account_id TEXT PRIMARY KEY,
  epoch      INTEGER NOT NULL,
  frozen     INTEGER NOT NULL
) STRICT;

-- A platform session, known by its hash: the secret stays in the visitor's cookie.
CREATE TABLE sessions (
  hash       TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE balances (
  account_id TEXT NOT NULL,
  asset      TEXT NOT NULL,
  free       TEXT NOT NULL,
  locked     TEXT NOT NULL,
  PRIMARY KEY (account_id, asset)
) STRICT;

-- Double entry: the postings of one journal line add up to zero for each asset, and the
-- balances are nothing but the sum of the postings.
CREATE TABLE journal (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  ref  TEXT NOT NULL,
  at   INTEGER NOT NULL
) STRICT;

CREATE TABLE postings (
  journal_id INTEGER NOT NULL REFERENCES journal (id),
  account_id TEXT NOT NULL,
  asset      TEXT NOT NULL,
  bucket     TEXT NOT NULL, -- free or locked
  amount     TEXT NOT NULL
) STRICT;
CREATE INDEX postings_journal ON postings (journal_id);

-- What is still to be told to Holdfast of the journal, oldest first. at-least-once.
CREATE TABLE movements (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  reference  TEXT NOT NULL UNIQUE,
  account_id TEXT NOT NULL,
  asset      TEXT NOT NULL,
  delta      TEXT NOT NULL,
  before     TEXT NOT NULL,
  after      TEXT NOT NULL,
  kind       TEXT NOT NULL,
  at         INTEGER NOT NULL,
  detail     TEXT NOT NULL,
  reported   INTEGER NOT NULL DEFAULT 0 -- 1 taken by Holdfast, 2 refused by it
) STRICT;
CREATE INDEX movements_waiting ON movements (reported, id);

CREATE TABLE deposit_addresses (
  asset      TEXT NOT NULL,
  address    TEXT NOT NULL,
  account_id TEXT NOT NULL,
  PRIMARY KEY (asset, address),
  UNIQUE (account_id, asset)
) STRICT;

CREATE TABLE deposits (
  id         TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  asset      TEXT NOT NULL,
  amount     TEXT NOT NULL,
  address    TEXT NOT NULL,
  txid       TEXT NOT NULL UNIQUE,
  internal   INTEGER NOT NULL,
  at         INTEGER NOT NULL
) STRICT;
CREATE INDEX deposits_account ON deposits (account_id, at);

CREATE TABLE orders (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id      TEXT NOT NULL,
  symbol          TEXT NOT NULL,
  client_order_id TEXT NOT NULL,
  side            INTEGER NOT NULL,
  type            TEXT NOT NULL,
  time_in_force   TEXT NOT NULL,
  price           TEXT NOT NULL,
  quantity        TEXT NOT NULL,
  quote_quantity  TEXT NOT NULL,
  filled          TEXT NOT NULL,
  filled_quote    TEXT NOT NULL,
  locked          TEXT NOT NULL, -- what of the balance this order still holds
  status          TEXT NOT NULL,
  stop_reason     TEXT NOT NULL DEFAULT '',
  stop_epoch      INTEGER NOT NULL DEFAULT 0, -- the freeze that cancelled it
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_open ON orders (status, symbol);
CREATE INDEX orders_account ON orders (account_id, symbol, id);
CREATE INDEX orders_client ON orders (account_id, client_order_id);

-- at is when both owners were asked about at Holdfast, just before it answered: the moment
-- that the fill was decided.
CREATE TABLE trades (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  symbol         TEXT NOT NULL,
  price          TEXT NOT NULL,
  quantity       TEXT NOT NULL,
  quote_quantity TEXT NOT NULL,
  buyer_is_maker INTEGER NOT NULL,
  at             INTEGER NOT NULL
) STRICT;
CREATE INDEX trades_symbol ON trades (symbol, id);

-- Each trade seen from each side.
CREATE TABLE fills (
  trade_id   INTEGER NOT NULL REFERENCES trades (id),
  account_id TEXT NOT NULL,
  symbol     TEXT NOT NULL,
  order_id   INTEGER NOT NULL REFERENCES orders (id),
  side       INTEGER NOT NULL,
  maker      INTEGER NOT NULL,
  fee        TEXT NOT NULL,
  fee_asset  TEXT NOT NULL,
  PRIMARY KEY (trade_id, order_id)
) STRICT;
CREATE INDEX fills_account ON fills (account_id, symbol, trade_id);

CREATE TABLE withdrawals (
  id           TEXT PRIMARY KEY,
  account_id   TEXT NOT NULL,
  client_id    TEXT NOT NULL, -- idempotency key, unique for the account
  asset        TEXT NOT NULL,
  amount       TEXT NOT NULL, -- gross: what leaves the account
  fee          TEXT NOT NULL,
  address      TEXT NOT NULL,
  internal     INTEGER NOT NULL,
  receiver     TEXT NOT NULL, -- account of an internal transfer
  key_id       TEXT NOT NULL,
  state        TEXT NOT NULL,
  reason       TEXT NOT NULL DEFAULT '',
  holdfast_id  TEXT NOT NULL DEFAULT '',
  stop_epoch   INTEGER NOT NULL DEFAULT 0,
  txid         TEXT NOT NULL DEFAULT '',
  report       TEXT NOT NULL DEFAULT '', -- settle, fail or abandon, still to be told
  due_at       INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  ended_at     INTEGER NOT NULL DEFAULT 0,
  UNIQUE (account_id, client_id)
) STRICT;
CREATE INDEX withdrawals_due ON withdrawals (state, due_at);
CREATE INDEX withdrawals_report ON withdrawals (report);

-- The simulated network: a row here is money that has left for good.
CREATE TABLE chain (
  txid          TEXT PRIMARY KEY,
  withdrawal_id TEXT NOT NULL UNIQUE,
  network       TEXT NOT NULL,
  asset         TEXT NOT NULL,
  address       TEXT NOT NULL,
  amount        TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT;

-- Receipts for Holdfast, written in the transaction that closed the exit.
CREATE TABLE receipts (
  account_id TEXT NOT NULL,
  epoch      INTEGER NOT NULL,
  exit       TEXT NOT NULL,
  stopped    INTEGER NOT NULL,
  detail     TEXT NOT NULL,
  state      TEXT NOT NULL, -- waiting, sent, or refused
  PRIMARY KEY (account_id, epoch, exit)
) STRICT;
CREATE INDEX receipts_waiting ON receipts (state);

-- How far the stream of closings has been applied.
CREATE TABLE follow (
  id        INTEGER PRIMARY KEY CHECK (id = 1),
  positions TEXT NOT NULL
) STRICT;
