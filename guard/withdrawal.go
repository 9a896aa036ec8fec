package guard

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/ledger"
	"holdfast/permit"
	"holdfast/store"
)

// State is where a withdrawal stands.
type State string

// The states. Requested goes to Confirmed, Cancelled or Failed; Confirmed to Settled, Failed or
// ConfirmedBeforeFreeze; ConfirmedBeforeFreeze to Settled or Failed. No other move is made.
const (
	Requested             State = "requested"
	Confirmed             State = "confirmed"
	Settled               State = "settled"
	Failed                State = "failed"
	Cancelled             State = "cancelled"
	ConfirmedBeforeFreeze State = "confirmed_before_freeze"
)

// Withdrawal is assets on their way out of an account, up to the point of no return and a word
// about what became of it.
type Withdrawal struct {
	ID       string
	Account  account.ID
	State    State
	Asset    string
	Amount   ledger.Amount
	Address  string
	Network  string
	Internal bool
	// Reference is the platform's own id of it.
	Reference string
	// CredentialKind and Credential name what requested it.
	CredentialKind string
	Credential     string
	Epoch          int64
	RequestedAt    time.Time
	ConfirmedAt    time.Time
	// SendBefore is the moment after which a confirmed withdrawal must not be sent any more.
	SendBefore time.Time
	EndedAt    time.Time
	// Outcome is the transaction id once settled, the reason once failed or cancelled.
	Outcome string
}

// Request is what a platform asks when somebody wants to withdraw.
type Request struct {
	Account    Ref
	Credential Credential
	// IdempotencyKey belongs to integrator and account.
	IdempotencyKey string
	Asset          string
	Amount         string
	Address        string
	Network        string
	Internal       bool
	Reference      string
}

// validate returns the amount, or what is wrong with the request.
func (r Request) validate() (ledger.Amount, error) {
	amount, err := ledger.ParseAmount(r.Amount)
	if err != nil {
		return ledger.Amount{}, err
	}
	if amount.Sign() <= 0 {
		return ledger.Amount{}, fault.New(fault.Invalid, "amount", "The amount must be more than zero.")
	}
	for _, field := range []struct {
		name, value string
		min, max    int
	}{
		{"idempotency key", r.IdempotencyKey, 1, 128},
		{"asset", r.Asset, 1, 32},
		{"address", r.Address, 1, 256},
		{"network", r.Network, 0, 64},
		{"reference", r.Reference, 0, 128},
	} {
		if len(field.value) < field.min || len(field.value) > field.max || !utf8.ValidString(field.value) {
			return ledger.Amount{}, fault.New(fault.Invalid, "field", fmt.Sprintf("The %s must have %d to %d bytes of UTF-8; this has %d.", field.name, field.min, field.max, len(field.value)))
		}
	}
	return amount, nil
}

// contentHash recognises a repeat of the same request.
func (r Request) contentHash(amount ledger.Amount) ([]byte, error) {
	text, err := json.Marshal([]any{r.Asset, amount.String(), r.Address, r.Network, r.Internal, r.Reference})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}

// Request decides and records a withdrawal or internal transfer. A refusal by the guard is a
// Decision, not an error, and leaves no withdrawal. A repeat under the same idempotency key
// returns the first decision and the withdrawal as it stands now; with other content it is a
// conflict.
func (g *Guard) Request(ctx context.Context, by evidence.Actor, r Request) (Decision, Withdrawal, error) {
	amount, err := r.validate()
	if err != nil {
		return Decision{}, Withdrawal{}, err
	}
	hash, err := r.contentHash(amount)
	if err != nil {
		return Decision{}, Withdrawal{}, err
	}
	act, exit := permit.RequestWithdrawal, permit.WithdrawalRequest
	if r.Internal {
		act, exit = permit.RequestTransfer, permit.InternalTransfer
	}
	q := Query{Integrator: by.ID, Account: r.Account, Credential: r.Credential, Exit: exit, Address: by.Address}
	seen, err := g.look(ctx, g.db, q)
	if err != nil {
		return Decision{}, Withdrawal{}, err
	}
	if seen.id == "" {
		return g.refuseUnknown(ctx, by, act, seen.decide(g.cfg.Lengths, q, g.db.Now()))
	}
	if d, w, found, err := g.repeat(ctx, g.db, seen.id, by.ID, r.IdempotencyKey, hash); found || err != nil {
		return d, w, err
	}
	screened, err := g.askScreen(ctx, Screened{Account: seen.id, Credential: seen.credentialID, CredentialKind: seen.kind,
		FirstSeen: seen.firstSeen, Asset: r.Asset, Amount: amount, Address: r.Address, Internal: r.Internal})
	if err != nil {
		g.log.WarnContext(ctx, "screen failed: withdrawal held", "error", err)
		return Decision{Verdict: Held, Account: seen.id, External: seen.external, Epoch: seen.standing.Epoch,
			Hold: HeldScreen, Sentence: sentence(HeldScreen), Until: g.db.Now().Add(time.Minute)}, Withdrawal{}, nil
	}
	var d Decision
	var w Withdrawal
	err = g.door.Do(ctx, by, permit.Act{Name: act, Account: seen.id}, func(tx *permit.Tx) error {
		var found bool
		if d, w, found, err = g.repeat(ctx, tx, seen.id, by.ID, r.IdempotencyKey, hash); found || err != nil {
			tx.Unchanged()
			return err
		}
		now, err := g.look(ctx, tx, q) // what the edge saw before does not count
		if err != nil {
			return err
		}
		if d = now.decide(g.cfg.Lengths, q, tx.Now()); d.Verdict != Allow {
			return d.refusal()
		}
		w = Withdrawal{
			ID: store.NewID(), Account: seen.id, State: Requested, Asset: r.Asset, Amount: amount, Address: r.Address,
			Network: r.Network, Internal: r.Internal, Reference: r.Reference, CredentialKind: now.kind, Credential: now.credentialID,
			Epoch: tx.Standing.Epoch, RequestedAt: tx.Now(),
		}
		if err := insertWithdrawal(ctx, tx, w, by.ID, r.IdempotencyKey, hash); err != nil {
			return err
		}
		if screened != nil {
			if err := screened(ctx, tx); err != nil {
				return err
			}
		}
		tx.Note("withdrawal", w.ID)
		tx.Note("asset", w.Asset)
		tx.Note("amount", w.Amount.String())
		tx.Note("address", w.Address)
		tx.Note("internal", w.Internal)
		tx.Note("credential", w.CredentialKind+" "+w.Credential)
		return g.tellRequested(ctx, tx, w, now)
	})
	if refusal, ok := decisionOf(err, seen); ok {
		return refusal, Withdrawal{}, nil
	}
	if err != nil {
		return Decision{}, Withdrawal{}, err
	}
	return d, w, nil
}

// refuseUnknown records a request for a credential or account that is not there.
func (g *Guard) refuseUnknown(ctx context.Context, by evidence.Actor, act string, d Decision) (Decision, Withdrawal, error) {
	err := g.door.Refuse(ctx, by, permit.Act{Name: act}, d.refusal())
	if fault.KindOf(err) == fault.Internal {
		return Decision{}, Withdrawal{}, err
	}
	return d, Withdrawal{}, nil
}

// repeat looks for a request under the same idempotency key.
func (g *Guard) repeat(ctx context.Context, q store.Querier, id account.ID, integrator, key string, hash []byte) (Decision, Withdrawal, bool, error) {
	var wid string
	var first []byte
	err := q.QueryRow(ctx, `SELECT withdrawal_id, content_hash FROM withdrawal WHERE account_id = $1 AND integrator = $2 AND idempotency_key = $3`,
		string(id), integrator, key).Scan(&wid, &first)
	if noRows(err) {
		return Decision{}, Withdrawal{}, false, nil
	}
	if err != nil {
		return Decision{}, Withdrawal{}, false, fmt.Errorf("look for a repeat: %w", err)
	}
	if string(first) != string(hash) {
		return Decision{}, Withdrawal{}, true, fault.New(fault.Conflict, "idempotency_key", "This idempotency key was used for another withdrawal.")
	}
	w, err := readOwn(ctx, q, evidence.Actor{ID: integrator}, id, wid)
	return Decision{Verdict: Allow, Account: id, Epoch: w.Epoch}, w, true, err
}

// Confirm is the last question before money leaves. It is decided in the database: the account is
// open, nothing holds it, and what requested the withdrawal is still live. On Allow the platform
// sends before w.SendBefore or not at all. A repeat returns the first decision and the state now,
// and only the state may be acted on.
func (g *Guard) Confirm(ctx context.Context, by evidence.Actor, id account.ID, wid string) (Decision, Withdrawal, error) {
	var d Decision
	var w Withdrawal
	err := g.door.Do(ctx, by, permit.Act{Name: permit.ConfirmWithdrawal, Account: id}, func(tx *permit.Tx) error {
		var err error
		if w, err = readOwn(ctx, tx, by, id, wid); err != nil {
			return err
		}
		d = Decision{Verdict: Allow, Account: id, Epoch: tx.Standing.Epoch}
		switch w.State {
		case Requested:
		case Confirmed, Settled:
			tx.Unchanged()
			return nil
		case ConfirmedBeforeFreeze, Cancelled:
			return fault.New(fault.Denied, "frozen", "A freeze stopped this withdrawal. Ask for it again.")
		default:
			return fault.New(fault.Conflict, "state", "This withdrawal has ended as "+string(w.State)+".")
		}
		live, err := account.CredentialLive(ctx, tx, tx.Standing, by.ID, w.CredentialKind, w.Credential)
		if err != nil {
			return err
		}
		if !live || w.Epoch != tx.Standing.Epoch {
			return fault.New(fault.Denied, "unknown_credential", "What requested this withdrawal has been removed.")
		}
		w.State, w.ConfirmedAt, w.SendBefore = Confirmed, tx.Now(), tx.Now().Add(g.cfg.SendWindow)
		tx.Note("withdrawal", w.ID)
		return writeState(ctx, tx, w)
	})
	if err == nil {
		return d, w, nil
	}
	refused := looked{id: id}
	if s, errS := readStanding(ctx, g.db, id); errS == nil {
		refused.standing = s
	}
	if refusal, ok := decisionOf(err, refused); ok {
		now, errW := readOwn(ctx, g.db, by, id, wid)
		if errW != nil {
			return Decision{}, Withdrawal{}, errW // not its own: it learns nothing, not even the freeze
		}
		return refusal, now, nil
	}
	return Decision{}, Withdrawal{}, err
}

// Settle records that a confirmed withdrawal has left. Settling twice succeeds.
func (g *Guard) Settle(ctx context.Context, by evidence.Actor, id account.ID, wid, transaction string) (Withdrawal, error) {
	return g.end(ctx, by, permit.Act{Name: permit.SettleWithdrawal, Account: id}, wid, Settled, transaction, Confirmed, ConfirmedBeforeFreeze)
}

// Fail records that a withdrawal was not and will not be sent. Failing twice succeeds.
func (g *Guard) Fail(ctx context.Context, by evidence.Actor, id account.ID, wid, reason string) (Withdrawal, error) {
	return g.end(ctx, by, permit.Act{Name: permit.FailWithdrawal, Account: id}, wid, Failed, reason, Requested, Confirmed, ConfirmedBeforeFreeze)
}

func (g *Guard) end(ctx context.Context, by evidence.Actor, act permit.Act, wid string, to State, outcome string, from ...State) (Withdrawal, error) {
	if len(outcome) > 200 || !utf8.ValidString(outcome) {
		return Withdrawal{}, fault.New(fault.Invalid, "outcome", "A transaction id or reason is at most 200 bytes of UTF-8.")
	}
	var w Withdrawal
	err := g.door.Do(ctx, by, act, func(tx *permit.Tx) error {
		var err error
		if w, err = readOwn(ctx, tx, by, act.Account, wid); err != nil {
			return err
		}
		if w.State == to {
			tx.Unchanged()
			return nil
		}
		if !slices.Contains(from, w.State) {
			return fault.New(fault.Conflict, "state", fmt.Sprintf("This withdrawal is %s; it cannot become %s.", w.State, to))
		}
		tx.Note("withdrawal", w.ID)
		tx.Note("was", w.State)
		tx.Note("outcome", outcome)
		w.State, w.EndedAt, w.Outcome = to, tx.Now(), outcome
		return writeState(ctx, tx, w)
	})
	return w, err
}

// Withdrawal returns a withdrawal that the integrator requested, as it stands.
func (g *Guard) Withdrawal(ctx context.Context, by evidence.Actor, id account.ID, wid string) (Withdrawal, error) {
	return readOwn(ctx, g.db, by, id, wid)
}

// Withdrawals returns the newest withdrawals of an account, whatever their state.
func (g *Guard) Withdrawals(ctx context.Context, id account.ID, limit int) ([]Withdrawal, error) {
	rows, err := g.db.Query(ctx, `SELECT `+withdrawalColumns+` FROM withdrawal WHERE account_id = $1 ORDER BY withdrawal_id DESC LIMIT $2`, string(id), limit)
	return scanWithdrawals(rows, err)
}

// cancelRequested stops what is between Request and Confirm.
func cancelRequested(ctx context.Context, tx *permit.Tx) ([]Withdrawal, error) {
	rows, err := tx.Query(ctx, `UPDATE withdrawal SET state = $2, ended_at = $3, outcome = 'frozen' WHERE account_id = $1 AND state = $4 RETURNING `+withdrawalColumns,
		string(tx.Standing.Account), string(Cancelled), store.Micros(tx.Now()), string(Requested))
	return scanWithdrawals(rows, err)
}

// markConfirmed marks what was confirmed and not settled: it may already have left.
func markConfirmed(ctx context.Context, tx *permit.Tx) ([]Withdrawal, error) {
	rows, err := tx.Query(ctx, `UPDATE withdrawal SET state = $2 WHERE account_id = $1 AND state = $3 RETURNING `+withdrawalColumns,
		string(tx.Standing.Account), string(ConfirmedBeforeFreeze), string(Confirmed))
	return scanWithdrawals(rows, err)
}

const withdrawalColumns = `withdrawal_id, account_id, state, asset, amount, address, network, internal, reference,
	credential_kind, credential_id, epoch, requested_at, confirmed_at, send_before, ended_at, outcome`

func insertWithdrawal(ctx context.Context, tx *permit.Tx, w Withdrawal, integrator, key string, hash []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO withdrawal (account_id, withdrawal_id, integrator, idempotency_key, content_hash, state, asset, amount,
			address, network, internal, reference, credential_kind, credential_id, epoch, requested_at, confirmed_at, send_before, ended_at, outcome)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, 0, 0, '')`,
		string(w.Account), w.ID, integrator, key, hash, string(w.State), w.Asset, w.Amount.String(), w.Address, w.Network, w.Internal,
		w.Reference, w.CredentialKind, w.Credential, w.Epoch, store.Micros(w.RequestedAt))
	if err != nil {
		return fmt.Errorf("record withdrawal: %w", err)
	}
	return nil
}

func writeState(ctx context.Context, tx *permit.Tx, w Withdrawal) error {
	n, err := tx.Exec(ctx, `UPDATE withdrawal SET state = $3, confirmed_at = $4, send_before = $5, ended_at = $6, outcome = $7 WHERE account_id = $1 AND withdrawal_id = $2`,
		string(w.Account), w.ID, string(w.State), store.Micros(w.ConfirmedAt), store.Micros(w.SendBefore), store.Micros(w.EndedAt), w.Outcome)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows changed", n)
	}
	if err != nil {
		return fmt.Errorf("write withdrawal: %w", err)
	}
	return nil
}

// readOwn reads a withdrawal that the integrator requested. Another's is as unknown as none.
func readOwn(ctx context.Context, q store.Querier, by evidence.Actor, id account.ID, wid string) (Withdrawal, error) {
	rows, err := q.Query(ctx, `SELECT `+withdrawalColumns+` FROM withdrawal WHERE account_id = $1 AND withdrawal_id = $2 AND integrator = $3`, string(id), wid, by.ID)
	ws, err := scanWithdrawals(rows, err)
	if err == nil && len(ws) == 0 {
		err = errUnknownWithdrawal()
	}
	if err != nil {
		return Withdrawal{}, err
	}
	return ws[0], nil
}

func errUnknownWithdrawal() error {
	return fault.New(fault.NotFound, "unknown_withdrawal", "There is no such withdrawal.")
}

func readWithdrawals(ctx context.Context, q store.Querier, id account.ID, state State) ([]Withdrawal, error) {
	rows, err := q.Query(ctx, `SELECT `+withdrawalColumns+` FROM withdrawal WHERE account_id = $1 AND state = $2 ORDER BY withdrawal_id`, string(id), string(state))
	return scanWithdrawals(rows, err)
}

func scanWithdrawals(rows *sql.Rows, err error) ([]Withdrawal, error) {
	if err != nil {
		return nil, fmt.Errorf("read withdrawals: %w", err)
	}
	defer rows.Close()
	var ws []Withdrawal
	for rows.Next() {
		var w Withdrawal
		var amount string
		var requested, confirmed, before, ended int64
		if err := rows.Scan(&w.ID, &w.Account, &w.State, &w.Asset, &amount, &w.Address, &w.Network, &w.Internal, &w.Reference,
			&w.CredentialKind, &w.Credential, &w.Epoch, &requested, &confirmed, &before, &ended, &w.Outcome); err != nil {
			return nil, fmt.Errorf("read withdrawals: %w", err)
		}
		if w.Amount, err = ledger.ParseAmount(amount); err != nil {
			return nil, fmt.Errorf("read withdrawal %s: %w", w.ID, err)
		}
		w.RequestedAt, w.ConfirmedAt, w.SendBefore, w.EndedAt = store.Time(requested), store.Time(confirmed), store.Time(before), store.Time(ended)
		ws = append(ws, w)
	}
	return ws, rows.Err()
}

// sums adds withdrawals up by asset: "0.41 BTC", in the order in which assets appear. A sum that is
// too large to write is left out.
func sums(ws []Withdrawal) []string {
	total := map[string]ledger.Amount{}
	var order []string
	for _, w := range ws {
		if _, ok := total[w.Asset]; !ok {
			order = append(order, w.Asset)
		}
		if sum, err := total[w.Asset].Add(w.Amount); err == nil {
			total[w.Asset] = sum
		}
	}
	out := make([]string, len(order))
	for i, asset := range order {
		out[i] = total[asset].String() + " " + asset
	}
	return out
}

func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
