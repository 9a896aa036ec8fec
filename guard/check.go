package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/account"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Ref names an account by exactly one of its names.
type Ref struct {
	ID       account.ID
	External string // in the caller's name space
}

// Credential is a credential that the caller has verified. Exactly one field is set.
type Credential struct {
	Session  string // secret of a platform session
	Key      string // id of an API key
	External string // id of a credential that the platform keeps itself
	Platform bool   // nobody acts: the platform's own work on the account
}

// Query is the question "may this happen now?".
type Query struct {
	Integrator string
	Account    Ref
	Credential Credential
	Exit       permit.Exit
	// Address is the client's, as the integrator saw it.
	Address string
}

// Verdict is the answer.
type Verdict int

// The verdicts. The zero value allows nothing.
const (
	Undecided Verdict = iota
	Allow
	FrozenNow
	Held
	UnknownCredential
	OutOfScope
	UnknownAccount
	TooMany
)

// Decision is a verdict and what explains it.
type Decision struct {
	Verdict  Verdict
	Account  account.ID
	External string
	Epoch    int64
	Until    time.Time
	Sentence string
	Hold     HoldKind
}

// refusal is the decision as an error, so that it ends a transaction and is recorded.
func (d Decision) refusal() error { return &refused{d} }

// refused carries a decision through the door.
type refused struct{ Decision }

func (r *refused) Error() string { return "refused: " + r.Sentence }

// As shows the refusal to package fault, which the door asks for kind and code.
func (r *refused) As(target any) bool {
	e, ok := target.(**fault.Error)
	if ok {
		*e = &fault.Error{Kind: fault.Denied, Code: r.code(), Say: r.Sentence, Until: r.Until}
	}
	return ok
}

func (d Decision) code() string {
	switch d.Verdict {
	case FrozenNow:
		return "frozen"
	case Held:
		return "held"
	case OutOfScope:
		return "out_of_scope"
	case UnknownAccount:
		return "unknown_account"
	case TooMany:
		return "too_often"
	default:
		return "unknown_credential"
	}
}

// decisionOf turns a refusal by the door, a gate or the guard itself into a decision; ok is false
// for every other error.
func decisionOf(err error, seen looked) (Decision, bool) {
	if own, ok := errors.AsType[*refused](err); ok {
		return own.Decision, true
	}
	d := Decision{Account: seen.id, External: seen.external, Epoch: seen.standing.Epoch, Sentence: fault.Say(err)}
	d.Until, _ = fault.UntilOf(err)
	switch fault.CodeOf(err) {
	case "frozen":
		d.Verdict = FrozenNow
	case "held":
		d.Verdict = Held
		if kind, ok := errors.AsType[holdCause](err); ok {
			d.Hold = HoldKind(kind)
		}
	case "too_often":
		d.Verdict = TooMany
	case "unknown_credential":
		d.Verdict = UnknownCredential
	default:
		return Decision{}, false
	}
	return d, true
}

// looked is what one statement found for a query.
type looked struct {
	id       account.ID // empty when there is no such account
	external string
	standing permit.Standing
	facts    Facts

	kind         string // "session", "api_key", "credential", "platform"; empty when there is no such credential
	credentialID string
	epoch        int64
	ended        bool
	endedByUs    bool // ended by the freeze itself, not by a person
	protective   bool
	expires      time.Time
	withdrawFrom time.Time
	scopes       []string
	addresses    []netip.Prefix
	firstSeen    time.Time
	key          account.Key
}

const lookStatement = `SELECT s.account_id, s.version, s.epoch, s.frozen_at, s.restored_at,
	a.password_changed_at, a.password_reset_at, a.mail_changed_at, a.phone_changed_at,
	COALESCE(x.external_id, ''),
	COALESCE(se.session_id, ''), COALESCE(se.epoch, 0), COALESCE(se.mode, ''), COALESCE(se.expires_at, 0), COALESCE(se.ended_at, 0),
	COALESCE(se.end_reason, ''), COALESCE(n.at, se.created_at, 0), COALESCE(d.first_seen, 0),
	COALESCE(k.key_id, ''), COALESCE(k.epoch, 0), COALESCE(k.kind, ''), k.material, COALESCE(k.scopes, ''), COALESCE(k.addresses, ''),
	COALESCE(k.created_at, 0), COALESCE(k.withdraw_from, 0), COALESCE(k.expires_at, 0), COALESCE(k.deleted_at, 0),
	COALESCE(c.external_credential_id, ''), COALESCE(c.epoch, 0), COALESCE(c.scopes, ''), COALESCE(c.created_at, 0), COALESCE(c.expires_at, 0), COALESCE(c.ended_at, 0),
	COALESCE(h.kind, ''), COALESCE(h.ends_at, 0)
FROM standing s
JOIN account a ON a.account_id = s.account_id
LEFT JOIN external_account x ON x.account_id = s.account_id AND x.integrator = $2
LEFT JOIN session se ON se.account_id = s.account_id AND se.token_hash = $3 AND se.kind = 'platform' AND se.integrator = $2
LEFT JOIN seen n ON n.account_id = s.account_id AND n.kind = 'session' AND n.id = se.session_id
LEFT JOIN device d ON d.account_id = s.account_id AND d.device_id = se.device_id
LEFT JOIN api_key k ON k.account_id = s.account_id AND k.key_id = $4
LEFT JOIN credential c ON c.account_id = s.account_id AND c.integrator = $2 AND c.external_credential_id = $5
LEFT JOIN hold h ON h.account_id = s.account_id AND h.exit IN ($6, $9) AND h.ends_at > $7
WHERE s.account_id = CASE WHEN $1 <> '' THEN $1 ELSE (SELECT account_id FROM external_account WHERE integrator = $2 AND external_id = $8) END`

// look reads everything a decision needs in one statement, so that it sees one moment: no freeze
// can commit between two of its parts.
func (g *Guard) look(ctx context.Context, q store.Querier, query Query) (looked, error) {
	var l looked
	id := query.Account.ID
	var tokenHash []byte
	kind := ""
	switch c := query.Credential; {
	case c.Session != "":
		kind = "session"
		owner, hash, err := account.ParseToken(account.SessionToken, c.Session)
		if err != nil || id != "" && id != owner {
			return l, nil
		}
		id, tokenHash = owner, hash
	case c.Key != "":
		kind = "api_key"
		owner, err := account.ParseKeyID(c.Key)
		if err != nil || id != "" && id != owner {
			return l, nil
		}
		id = owner
	case c.External != "":
		kind = "credential"
	case c.Platform:
		kind = "platform"
	}
	if tokenHash == nil {
		tokenHash = []byte{}
	}
	now := g.db.Now()
	if tx, ok := q.(interface{ Now() time.Time }); ok {
		now = tx.Now()
	}
	rows, err := q.Query(ctx, lookStatement, string(id), query.Integrator, tokenHash, query.Credential.Key, query.Credential.External,
		string(query.Exit), store.Micros(now), query.Account.External, string(heldAs(query.Exit)))
	if err != nil {
		return l, fmt.Errorf("check: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hold Hold
		if l, hold, err = g.scanLooked(rows.Scan, kind, l); err != nil {
			return looked{}, fmt.Errorf("check: %w", err)
		}
		if !hold.Ends.IsZero() {
			hold.Exit = query.Exit
			l.facts.Holds = append(l.facts.Holds, hold)
		}
	}
	if err := rows.Err(); err != nil {
		return looked{}, fmt.Errorf("check: %w", err)
	}
	if !l.standing.Frozen() && g.doubted(l.id) {
		l.standing.FrozenAt, l.facts.FrozenAt = now, now // pressed here; until it is known, it counts
	}
	if query.Account.External != "" && l.external != query.Account.External {
		return looked{}, nil
	}
	return l, nil
}

// scanLooked reads one row: the same account and credential in each, with one hold.
func (g *Guard) scanLooked(scan func(...any) error, kind string, l looked) (looked, Hold, error) {
	var frozen, restored, changed, reset, mail, phone int64
	var session struct {
		id, mode, reason                       string
		epoch, expires, ended, seen, firstSeen int64
	}
	var key struct {
		id, kind, scopes, addresses                    string
		epoch, created, withdrawFrom, expires, deleted int64
		material                                       []byte
	}
	var external struct {
		id, scopes                     string
		epoch, created, expires, ended int64
	}
	var hold Hold
	var ends int64
	err := scan(&l.id, &l.standing.Version, &l.standing.Epoch, &frozen, &restored, &changed, &reset, &mail, &phone, &l.external,
		&session.id, &session.epoch, &session.mode, &session.expires, &session.ended, &session.reason, &session.seen, &session.firstSeen,
		&key.id, &key.epoch, &key.kind, &key.material, &key.scopes, &key.addresses, &key.created, &key.withdrawFrom, &key.expires, &key.deleted,
		&external.id, &external.epoch, &external.scopes, &external.created, &external.expires, &external.ended, &hold.Kind, &ends)
	if err != nil {
		return l, hold, err
	}
	l.standing.Account = l.id
	l.standing.FrozenAt, l.standing.RestoredAt = store.Time(frozen), store.Time(restored)
	l.facts.FrozenAt, l.facts.RestoredAt = l.standing.FrozenAt, l.standing.RestoredAt
	l.facts.Account = account.Facts{PasswordChangedAt: store.Time(changed), PasswordResetAt: store.Time(reset), MailChangedAt: store.Time(mail), PhoneChangedAt: store.Time(phone)}
	hold.Ends = store.Time(ends)
	switch {
	case kind == "session" && session.id != "":
		l.kind, l.credentialID, l.epoch = kind, session.id, session.epoch
		l.ended, l.endedByUs = session.ended != 0, session.reason == account.EndedByFreeze
		l.protective = session.mode != "full"
		l.expires = store.Time(session.expires)
		if idle := store.Time(session.seen).Add(g.accounts.Idle()); idle.Before(l.expires) {
			l.expires = idle
		}
		l.firstSeen = store.Time(session.firstSeen)
	case kind == "api_key" && key.id != "":
		l.kind, l.credentialID, l.epoch = kind, key.id, key.epoch
		l.ended = key.deleted != 0
		l.expires, l.withdrawFrom, l.firstSeen = store.Time(key.expires), store.Time(key.withdrawFrom), store.Time(key.created)
		l.scopes = split(key.scopes)
		if l.addresses, err = account.ReadAddresses(key.addresses); err != nil {
			return l, hold, fmt.Errorf("key %s: %w", key.id, err)
		}
		l.key = account.Key{ID: key.id, Account: l.id, Kind: account.KeyKind(key.kind), Material: key.material}
	case kind == "credential" && external.id != "":
		l.kind, l.credentialID, l.epoch = kind, external.id, external.epoch
		l.ended, l.expires, l.firstSeen = external.ended != 0, store.Time(external.expires), store.Time(external.created)
		l.scopes = split(external.scopes)
	case kind == "platform":
		l.kind, l.epoch = kind, l.standing.Epoch
	}
	return l, hold, nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// decide is the decision that follows from what was looked at. It is pure.
func (l looked) decide(lengths Lengths, q Query, now time.Time) Decision {
	d := Decision{Account: l.id, External: l.external, Epoch: l.standing.Epoch}
	unknown := Decision{Verdict: UnknownCredential, Sentence: "This credential is not known here."}
	if l.id == "" {
		if q.Credential.Session != "" || q.Credential.Key != "" {
			return unknown
		}
		return Decision{Verdict: UnknownAccount, Sentence: "There is no such account."}
	}
	if l.kind == "" || l.ended && !(l.endedByUs && l.standing.Frozen()) || !l.from(q.Address) || !l.expires.IsZero() && !now.Before(l.expires) {
		return unknown // one answer for all of these: it teaches a thief nothing
	}
	if l.standing.Frozen() {
		block, _ := lengths.Blocked(l.facts, q.Exit, now)
		d.Verdict, d.Sentence, d.Hold = FrozenNow, block.Sentence, Frozen
		return d
	}
	if l.epoch != l.standing.Epoch {
		return unknown
	}
	if !l.covers(q.Exit) {
		d.Verdict, d.Sentence = OutOfScope, "This credential does not cover this."
		return d
	}
	if info, _ := find(q.Exit); l.kind == "api_key" && now.Before(l.withdrawFrom) && (info.moves || !standard(q.Exit)) {
		d.Verdict, d.Sentence, d.Hold, d.Until = Held, sentence(HeldNewKey), HeldNewKey, l.withdrawFrom
		return d
	}
	if block, ok := lengths.Blocked(l.facts, q.Exit, now); ok {
		d.Verdict, d.Sentence, d.Hold, d.Until = Held, block.Sentence, block.Kind, block.Until
		return d
	}
	d.Verdict = Allow
	return d
}

func standard(exit permit.Exit) bool {
	_, ok := find(exit)
	return ok
}

// from reports whether the credential may be used from the address. A key with a list refuses an
// address that nobody named.
func (l looked) from(address string) bool {
	addr, _ := netip.ParseAddr(address) // what cannot be read is in no list
	return account.Key{Addresses: l.addresses}.Allows(addr)
}

// covers reports whether the credential's scopes cover the exit.
func (l looked) covers(exit permit.Exit) bool {
	switch l.kind {
	case "platform":
		return exit == permit.OpenOrder || exit == permit.PendingWithdrawal || !standard(exit)
	case "session":
		return !l.protective && exit != permit.APIKey && exit != permit.SupportChange
	case "credential":
		return len(l.scopes) == 0 || slices.Contains(l.scopes, string(exit))
	}
	switch exit {
	case permit.APIKey:
		return slices.Contains(l.scopes, "read")
	case permit.Order, permit.OpenOrder:
		return slices.Contains(l.scopes, "trade")
	case permit.WithdrawalRequest, permit.InternalTransfer:
		return slices.Contains(l.scopes, "withdraw")
	default:
		// A key never signs in, changes settings or speaks for support; what an exit of the
		// integrator's own lets out is not known here, so it takes the strongest scope.
		return !standard(exit) && slices.Contains(l.scopes, "withdraw")
	}
}

// Check decides whether an act may happen now. It reads the database in one statement, keeps
// nothing, and writes nothing when it allows; refusals are recorded. The answer counts for the
// moment it was given.
func (g *Guard) Check(ctx context.Context, by evidence.Actor, q Query) (Decision, error) {
	if !Known(q.Exit) {
		return Decision{}, fault.New(fault.Invalid, "exit", fmt.Sprintf("%.64q is not an exit.", string(q.Exit)))
	}
	seen, err := g.look(ctx, g.db, q)
	if err != nil {
		return Decision{}, err
	}
	return g.answer(ctx, by, seen, q, seen.decide(g.cfg.Lengths, q, g.db.Now()))
}

// answer records a refusal and marks the use of a credential that was allowed.
func (g *Guard) answer(ctx context.Context, by evidence.Actor, seen looked, q Query, d Decision) (Decision, error) {
	if d.Verdict == Allow {
		if seen.kind != "platform" {
			g.accounts.MarkSeen(ctx, seen.id, seen.kind, seen.credentialID, q.Address)
		}
		return d, nil
	}
	if seen.credentialID != "" {
		by.Session = seen.credentialID
	}
	err := g.door.Refuse(ctx, by, permit.Act{Name: "check_" + string(q.Exit), Account: d.Account}, d.refusal())
	if fault.KindOf(err) == fault.Internal {
		return Decision{}, err
	}
	return d, nil
}

// Signed is an API request as its client signed it.
type Signed struct {
	KeyID     string
	Bytes     []byte
	Signature []byte
	Exit      permit.Exit
	Address   string
}

// Authenticated is what a platform learns about a key whose signature was right.
type Authenticated struct {
	Decision
	Scopes      []string
	Kind        account.KeyKind
	AddressList bool
	CreatedAt   time.Time
}

// maxSigned bounds what one request may ask to be verified.
const maxSigned = 64 << 10

// Authenticate verifies a signed API request and decides like Check, from the same statement. The
// secret never leaves. A wrong signature, an unknown key and a wrong address get one answer.
func (g *Guard) Authenticate(ctx context.Context, by evidence.Actor, s Signed) (Authenticated, error) {
	if !Known(s.Exit) {
		return Authenticated{}, fault.New(fault.Invalid, "exit", fmt.Sprintf("%.64q is not an exit.", string(s.Exit)))
	}
	if len(s.Bytes) > maxSigned {
		return Authenticated{}, fault.New(fault.Invalid, "signed", "At most 64 KiB can be signed.")
	}
	q := Query{Integrator: by.ID, Credential: Credential{Key: s.KeyID}, Exit: s.Exit, Address: s.Address}
	seen, err := g.look(ctx, g.db, q)
	if err != nil {
		return Authenticated{}, err
	}
	var a Authenticated
	d := Decision{Verdict: UnknownCredential, Sentence: "This credential is not known here."}
	if seen.kind == "api_key" {
		right, err := seen.key.Verify(g.keys, s.Bytes, s.Signature)
		if err != nil {
			return Authenticated{}, fmt.Errorf("verify key %s: %w", seen.key.ID, err)
		}
		if right {
			if d = seen.decide(g.cfg.Lengths, q, g.db.Now()); d.Verdict != UnknownCredential {
				a.Scopes, a.Kind, a.AddressList, a.CreatedAt = seen.scopes, seen.key.Kind, len(seen.addresses) > 0, seen.firstSeen
			}
		}
	}
	a.Decision, err = g.answer(ctx, by, seen, q, d)
	return a, err
}
