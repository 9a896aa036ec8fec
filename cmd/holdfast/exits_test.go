package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"holdfast/account"
	"holdfast/api/client"
	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/guard"
	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store/storetest"
)

// TestExits is the table of everything that a thief can try on a frozen account: with what was
// stolen before the freeze, with what can be got after it, and, worst of all, from inside a session
// in protective mode. Nothing may open more than that mode. Whoever adds a way out adds a row, and
// TestEveryActHasAnExit says which act still lacks one.
func TestExits(t *testing.T) {
	storetest.EachDSN(t, func(t *testing.T, dsn string) {
		e := frozenStage(t, dsn)
		for _, row := range e.rows() {
			t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
				allowed, answer, err := row.try(t.Context())
				if err != nil {
					t.Fatalf("could not be tried: %v", err)
				}
				if allowed {
					t.Errorf("the exit %s is open: %s", row.exit, answer)
				}
			})
		}
		e.check(t)
		e.restore(t)
		again := 0
		for _, row := range e.rows() {
			if !staysClosed(row.name) {
				continue
			}
			again++
			t.Run("restored/"+strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
				if allowed, answer, err := row.try(t.Context()); err != nil || allowed {
					t.Errorf("what was stolen before the freeze opens the exit %s after the restore: %s %v", row.exit, answer, err)
				}
			})
		}
		if again < 30 {
			t.Errorf("%d rows were tried again", again)
		}
	})
}

// staysClosed reports whether a row tries something that was taken or set going before the restore,
// which no restore brings back. The password is not among them: it is the holder's, too.
func staysClosed(name string) bool {
	for _, gone := range []string{"Ed25519 key", "check of a platform session", "with the stolen key", "with a platform session", "confirm a withdrawal",
		"hand-over code", "confirm the changed mail address", "use the reset link", "dead session", "protective session"} {
		if strings.Contains(name, gone) {
			return true
		}
	}
	return false
}

// restore opens the account again, as two operators do.
func (e *frozen) restore(t *testing.T) {
	t.Helper()
	g := e.holds.house.guard
	plan, err := g.Propose(t.Context(), evidence.Actor{Kind: evidence.Operator, ID: operatorA}, e.id, "the holder came with a passport", false)
	must(t, err)
	_, err = g.Approve(t.Context(), evidence.Actor{Kind: evidence.Operator, ID: operatorB}, plan.ID)
	must(t, err)
}

func TestEveryActHasAnExit(t *testing.T) {
	tried := map[string]bool{}
	exits := map[permit.Exit]bool{}
	rows := new(frozen).rows()
	if len(rows) < 15 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		exits[row.exit] = true
		for _, act := range row.acts {
			tried[act] = true
			if _, ok := permit.Find(act); !ok {
				t.Errorf("row %q tries %q, which is no act", row.name, act)
			}
		}
	}
	for _, kind := range permit.Acts() {
		switch kind.Class {
		case permit.Closes, permit.Records:
		case permit.Opens:
			if !guard.Known(kind.Exit) {
				t.Errorf("the act %s opens and names no exit", kind.Name)
			}
			if !tried[kind.Name] {
				t.Errorf("the act %s opens and has no row in the table of exits", kind.Name)
			}
		default:
			t.Errorf("the act %s has no class", kind.Name)
		}
	}
	for _, exit := range []permit.Exit{
		permit.SignIn, permit.Session, permit.RememberedDevice, permit.APIKey, permit.Order, permit.OpenOrder, permit.WithdrawalRequest,
		permit.PendingWithdrawal, permit.InternalTransfer, permit.SecuritySetting, permit.SupportChange,
	} {
		if !exits[exit] {
			t.Errorf("the exit %s has no row", exit)
		}
	}
}

// exitRow is one attempt on one exit of a frozen account. acts are those of permit's table that it
// tries to carry out.
type exitRow struct {
	name string
	exit permit.Exit
	acts []string
	try  func(ctx context.Context) (allowed bool, answer string, err error)
}

// frozen is a stage on which the theft has happened and the holder has pressed Freeze.
type frozen struct {
	*play
	id         account.ID
	full       account.Session // the thief's, from before the freeze
	protective account.Session // what a thief with the mailbox can get after it
	remembered string
	handOver   string
	mailLink   string // confirms a change of address that the thief asked for before the freeze
	pending    string // a withdrawal between request and confirm
	platform   string // the exchange's session of the thief
	key        string // the holder's stolen key
	ed         ed25519.PrivateKey
	edKey      string
	plan       guard.Plan
	hold       *client.Client // the exchange's own
}

func frozenStage(t *testing.T, dsn string) *frozen {
	t.Helper()
	ctx := t.Context()
	mail, err := startMailServer()
	must(t, err)
	t.Cleanup(func() { must(t, mail.close()) })
	cfg := defaults()
	cfg.State, cfg.Pages, cfg.API, cfg.HashMemory, cfg.HashPasses = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", 1024, 1
	cfg.MailHost, cfg.MailPort, cfg.MailTLS, cfg.MailFrom = "127.0.0.1", mail.port, string(notice.Plain), "Holdfast <security@holdfast.test>"
	if !strings.HasPrefix(dsn, "sqlite:") { // a SQLite database lies in the stage's own folder
		cfg.Database = dsn
	}
	s, err := openStage(ctx, cfg, "127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	must(t, err)
	t.Cleanup(func() { must(t, s.close(context.Background())) })
	e := &frozen{play: &play{stage: s, story: story{io.Discard, time.Now()}, mail: mail}}
	must(t, e.theft(ctx))
	must(t, e.steal(ctx))
	var result demoResult
	must(t, e.play.freeze(ctx, &result))
	must(t, e.enterProtective(ctx))
	return e
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// steal takes everything else that a thief can take along, while the account is still open.
func (e *frozen) steal(ctx context.Context) error {
	h := e.holds.house
	from := h.accounts.From(addrStranger, stranger)
	var err error
	if e.hold, err = client.New(client.Config{URL: h.apiURL, KeyFile: e.path(exchangeKey), Log: h.log}); err != nil {
		return err
	}
	if e.full, err = h.accounts.SignIn(ctx, from, account.Entry{Mail: holderMail, Password: holderPassword}); err != nil {
		return err
	}
	e.id = e.full.Account
	by := e.full.Actor(from)
	remembered, err := h.accounts.Remember(ctx, by, e.id)
	if err != nil {
		return err
	}
	e.remembered = remembered.Reveal()
	code, err := h.accounts.HandOver(ctx, by, e.id, "exchange")
	if err != nil {
		return err
	}
	session, err := e.hold.SignIn.Redeem(ctx, connect.NewRequest(&holdfastv1.RedeemRequest{Code: code.Reveal()}))
	if err != nil {
		return err
	}
	e.platform = session.Msg.GetSession()
	if code, err = h.accounts.HandOver(ctx, by, e.id, "exchange"); err != nil {
		return err
	}
	e.handOver = code.Reveal()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	made, err := h.accounts.CreateKey(ctx, by, e.id, account.NewKey{Label: "mine", Kind: account.Ed25519,
		PublicKey: base64.StdEncoding.EncodeToString(public), Scopes: []string{"read", "trade"}, Password: holderPassword})
	if err != nil {
		return err
	}
	e.ed, e.edKey, e.key = private, made.Key.ID, e.cast.Holder.KeyID
	if v, err := e.byEd25519(ctx); err != nil || v != holdfastv1.Verdict_VERDICT_ALLOW {
		return errors.Join(fmt.Errorf("Ed25519 key before the freeze: %s", v), err)
	}
	pending, err := e.request(ctx, &holdfastv1.Credential{Kind: &holdfastv1.Credential_KeyId{KeyId: e.key}}, addrBot, false)
	if err != nil || pending.GetDecision().GetVerdict() != holdfastv1.Verdict_VERDICT_ALLOW {
		return errors.Join(fmt.Errorf("withdrawal before the freeze: %v", pending), err)
	}
	e.pending = pending.GetWithdrawal().GetWithdrawalId()
	const theirs = "thief@holdfast.test"
	if err := h.accounts.ChangeMail(ctx, by, e.id, theirs, holderPassword); err != nil {
		return err
	}
	l, err := e.mail.box.wait(ctx, theirs, 0, func(l letter) bool { return l.link(notice.VerifyPurpose) != "" })
	e.mailLink = l.link(notice.VerifyPurpose)
	return err
}

// enterProtective signs the thief, who reads the holder's mail, in with a mailed code.
func (e *frozen) enterProtective(ctx context.Context) error {
	h := e.holds.house
	from := h.accounts.From(addrStranger, stranger)
	at := e.mail.box.count()
	nonce, err := h.accounts.RequestSignInCode(ctx, from, holderMail)
	if err != nil {
		return err
	}
	code := ""
	if _, err := e.mail.box.wait(ctx, holderMail, at, func(l letter) bool { code = mailedCode(l); return code != "" }); err != nil {
		return err
	}
	e.protective, err = h.accounts.EnterWithCode(ctx, from, holderMail, code, nonce.Reveal())
	return err
}

// mailedCode finds the code that a mail shows on a line by itself.
func mailedCode(l letter) string {
	if !strings.Contains(l.subject, "sign-in code") {
		return ""
	}
	return strings.TrimSpace(regexp.MustCompile(`(?m)^    (\S.*)$`).FindString(l.text))
}

// byEd25519 reads with the thief's own Ed25519 key, as the exchange would ask.
func (e *frozen) byEd25519(ctx context.Context) (holdfastv1.Verdict, error) {
	signed := []byte("timestamp=1")
	res, err := e.hold.Guard.Authenticate(ctx, connect.NewRequest(&holdfastv1.AuthenticateRequest{
		KeyId: e.edKey, Signed: signed, Signature: ed25519.Sign(e.ed, signed), Exit: string(permit.APIKey), Origin: &holdfastv1.Origin{Address: addrStranger}}))
	if err != nil {
		return 0, err
	}
	return res.Msg.GetDecision().GetVerdict(), nil
}

func (e *frozen) request(ctx context.Context, c *holdfastv1.Credential, address string, internal bool) (*holdfastv1.RequestWithdrawalResponse, error) {
	res, err := e.hold.Guard.RequestWithdrawal(ctx, connect.NewRequest(&holdfastv1.RequestWithdrawalRequest{
		Account:    &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: string(e.id)}},
		Credential: c, Origin: &holdfastv1.Origin{Address: address}, IdempotencyKey: fmt.Sprint(time.Now().UnixNano()),
		Asset: "BTC", Amount: "0.01", Address: lair, Network: "BTC", Internal: internal}))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// asked turns a decision into a row's answer.
func asked(d *holdfastv1.Decision, err error) (bool, string, error) {
	if err != nil {
		return refusedBy(err)
	}
	return d.GetVerdict() == holdfastv1.Verdict_VERDICT_ALLOW, d.GetVerdict().String(), nil
}

// refusedBy turns an error into a row's answer: a refusal with a reason is one, and an error that
// says nothing about the account is a test that did not happen.
func refusedBy(err error) (bool, string, error) {
	if err == nil {
		return true, "accepted", nil
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		switch e.Code() {
		case connect.CodePermissionDenied, connect.CodeFailedPrecondition, connect.CodeUnauthenticated, connect.CodeNotFound, connect.CodeResourceExhausted:
			return false, e.Error(), nil
		}
		return false, "", err
	}
	if fault.KindOf(err) == fault.Internal {
		return false, "", err
	}
	return false, fault.CodeOf(err), nil
}

// rows is the table. It can be read without a stage.
func (e *frozen) rows() []exitRow {
	var rows []exitRow
	add := func(name string, exit permit.Exit, acts []string, try func(ctx context.Context) (bool, string, error)) {
		rows = append(rows, exitRow{name, exit, acts, try})
	}
	// What the demonstration's thief tries over the network, with an unmodified client and a browser.
	stolen := &thief{}
	if e.play != nil {
		stolen = e.thief
	}
	acts := map[string][]string{
		"sign in on the pages with the password": {permit.EnterSession},
		"make a new API key":                     {permit.CreateKey},
		"change the mail address":                {permit.ChangeMail},
		"use the reset link from the mailbox":    {permit.ResetPassword},
	}
	for _, try := range stolen.tries() {
		add(try.what, permit.Exit(try.exit), acts[try.what], try.act)
	}

	from := func() evidence.Actor { return e.holds.house.accounts.From(addrStranger, stranger) }
	refused := func(act func(ctx context.Context) error) func(context.Context) (bool, string, error) {
		return func(ctx context.Context) (bool, string, error) { return refusedBy(act(ctx)) }
	}
	add("Ed25519 key", permit.APIKey, nil, func(ctx context.Context) (bool, string, error) {
		v, err := e.byEd25519(ctx)
		return v == holdfastv1.Verdict_VERDICT_ALLOW, v.String(), err
	})
	for _, exit := range []permit.Exit{permit.Order, permit.OpenOrder, permit.WithdrawalRequest, permit.InternalTransfer, "x_card"} {
		add("check of a platform session: "+string(exit), exit, nil, func(ctx context.Context) (bool, string, error) {
			res, err := e.hold.Guard.Check(ctx, connect.NewRequest(&holdfastv1.CheckRequest{
				Credential: &holdfastv1.Credential{Kind: &holdfastv1.Credential_Session{Session: e.platform}}, Exit: string(exit), Origin: &holdfastv1.Origin{Address: addrStranger}}))
			if err != nil {
				return refusedBy(err)
			}
			return asked(res.Msg.GetDecision(), nil)
		})
	}
	add("a resting order of the account", permit.OpenOrder, nil, func(ctx context.Context) (bool, string, error) {
		res, err := e.hold.Guard.Check(ctx, connect.NewRequest(&holdfastv1.CheckRequest{
			Account:    &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: string(e.id)}},
			Credential: &holdfastv1.Credential{Kind: &holdfastv1.Credential_Platform{Platform: true}}, Exit: string(permit.OpenOrder)}))
		if err != nil {
			return refusedBy(err)
		}
		return asked(res.Msg.GetDecision(), nil)
	})
	for name, internal := range map[string]bool{permit.RequestWithdrawal: false, permit.RequestTransfer: true} {
		exit := map[bool]permit.Exit{false: permit.WithdrawalRequest, true: permit.InternalTransfer}[internal]
		add(name+" with the stolen key", exit, []string{name}, func(ctx context.Context) (bool, string, error) {
			res, err := e.request(ctx, &holdfastv1.Credential{Kind: &holdfastv1.Credential_KeyId{KeyId: e.key}}, addrBot, internal)
			return asked(res.GetDecision(), err)
		})
		add(name+" with a platform session", exit, []string{name}, func(ctx context.Context) (bool, string, error) {
			res, err := e.request(ctx, &holdfastv1.Credential{Kind: &holdfastv1.Credential_Session{Session: e.platform}}, addrStranger, internal)
			return asked(res.GetDecision(), err)
		})
	}
	add("confirm a withdrawal that was pending", permit.PendingWithdrawal, []string{permit.ConfirmWithdrawal}, func(ctx context.Context) (bool, string, error) {
		res, err := e.hold.Guard.ConfirmWithdrawal(ctx, connect.NewRequest(&holdfastv1.ConfirmWithdrawalRequest{
			Account: &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: string(e.id)}}, WithdrawalId: e.pending}))
		if err != nil {
			return refusedBy(err)
		}
		return asked(res.Msg.GetDecision(), nil)
	})
	add("remembered device and password", permit.RememberedDevice, []string{permit.EnterSession}, refused(func(ctx context.Context) error {
		_, err := e.holds.house.accounts.SignIn(ctx, from(), account.Entry{Mail: holderMail, Password: holderPassword, Remembered: e.remembered})
		return err
	}))
	add("hand-over code from before the freeze", permit.Session, []string{permit.RedeemHandOver}, refused(func(ctx context.Context) error {
		_, err := e.hold.SignIn.Redeem(ctx, connect.NewRequest(&holdfastv1.RedeemRequest{Code: e.handOver}))
		return err
	}))
	add("confirm the changed mail address", permit.SecuritySetting, []string{permit.ConfirmMail}, refused(func(ctx context.Context) error {
		_, err := e.holds.house.accounts.Verify(ctx, from(), path.Base(e.mailLink))
		return err
	}))
	add("sign up again with the address", permit.SignIn, []string{permit.SignUp, permit.VerifyMail}, func(ctx context.Context) (bool, string, error) {
		return e.signUpAgain(ctx, from())
	})
	add("register the account again on the platform", permit.SignIn, []string{permit.RegisterAccount}, refused(func(ctx context.Context) error {
		_, err := e.hold.Accounts.RegisterAccount(ctx, connect.NewRequest(&holdfastv1.RegisterAccountRequest{ExternalId: "again", Mail: holderMail}))
		if connect.CodeOf(err) == connect.CodeAlreadyExists {
			return fault.New(fault.Conflict, "exists", "")
		}
		return err
	}))
	add("register a credential on the platform", permit.APIKey, []string{permit.RegisterKey}, refused(func(ctx context.Context) error {
		_, err := e.hold.Accounts.RegisterCredential(ctx, connect.NewRequest(&holdfastv1.RegisterCredentialRequest{
			Account:              &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: string(e.id)}},
			ExternalCredentialId: "new", Kind: "session"}))
		return err
	}))
	add("one operator alone restores", permit.SupportChange, []string{permit.ApproveRestore}, refused(func(ctx context.Context) error {
		one := evidence.Actor{Kind: evidence.Operator, ID: operatorA}
		if e.plan.ID == "" {
			var err error
			if e.plan, err = e.holds.house.guard.Propose(ctx, one, e.id, "the caller knew the name of a pet", false); err != nil {
				return err
			}
		}
		_, err := e.holds.house.guard.Approve(ctx, one, e.plan.ID)
		return err
	}))

	// Everything that a session can open, tried from a session of before the freeze and from one in
	// protective mode, which a thief with the mailbox can get.
	for _, s := range []struct {
		name string
		of   func() account.Session
	}{
		{"dead session", func() account.Session { return e.full }},
		{"protective session", func() account.Session { return e.protective }},
	} {
		for _, open := range []struct {
			act  string
			exit permit.Exit
			try  func(ctx context.Context, a *account.Accounts, by evidence.Actor) error
		}{
			{permit.HandOver, permit.Session, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.HandOver(ctx, by, e.id, "exchange")
				return err
			}},
			{permit.RememberDevice, permit.RememberedDevice, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.Remember(ctx, by, e.id)
				return err
			}},
			{permit.CreateKey, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.CreateKey(ctx, by, e.id, account.NewKey{Label: "x", Kind: account.HMAC, Scopes: []string{"read"}, Password: holderPassword})
				return err
			}},
			{permit.EnableKey, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.EnableKey(ctx, by, e.id, e.key, holderPassword)
				return err
			}},
			{permit.ChangeMail, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				return a.ChangeMail(ctx, by, e.id, "other@holdfast.test", holderPassword)
			}},
			{permit.SetPhone, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				return a.SetPhone(ctx, by, e.id, "+12025550123", holderPassword)
			}},
			{permit.SetLimit, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				return a.SetLimit(ctx, by, e.id, 90, holderPassword)
			}},
			{permit.NewFreezeCode, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.NewFreezeCode(ctx, by, e.id, holderPassword)
				return err
			}},
			{permit.ChangePassword, permit.SecuritySetting, func(ctx context.Context, a *account.Accounts, by evidence.Actor) error {
				_, err := a.ChangePassword(ctx, by, e.id, account.PasswordChange{Current: holderPassword, Next: thiefPassword})
				return err
			}},
		} {
			add(s.name+": "+open.act, open.exit, []string{open.act}, refused(func(ctx context.Context) error {
				return open.try(ctx, e.holds.house.accounts, s.of().Actor(from()))
			}))
		}
	}
	// What protective mode is for: it opens a session that closes, or a code for a new password, and
	// what they open is what the rows above were refused from.
	add("a mailed code opens more than protective mode", permit.SignIn, []string{permit.EnterProtective, permit.RequestCode}, func(context.Context) (bool, string, error) {
		return e.protective.Mode != permit.Protective, fmt.Sprint(e.protective.Mode), nil
	})
	return rows
}

// signUpAgain tries to take the address over by signing up with it: whoever reads its mailbox gets
// a mail, and no link that opens anything.
func (e *frozen) signUpAgain(ctx context.Context, from evidence.Actor) (bool, string, error) {
	at := e.mail.box.count()
	if err := e.holds.house.accounts.SignUp(ctx, from, account.SignUp{Mail: holderMail, Password: thiefPassword}); err != nil {
		return false, "", err
	}
	l, err := e.mail.box.wait(ctx, holderMail, at, func(l letter) bool {
		return strings.Contains(l.subject, "sign up") || l.link(notice.VerifyPurpose) != ""
	})
	return l.link(notice.VerifyPurpose) != "", l.subject, err
}

// check looks at the account after everything was tried: it is as frozen as before, and nothing
// that could open it has appeared.
func (e *frozen) check(t *testing.T) {
	t.Helper()
	h := e.holds.house
	p, err := h.guard.Protection(t.Context(), e.id)
	must(t, err)
	if !p.Frozen() || !p.Contained || p.Epoch != 2 {
		t.Errorf("after all tries: %+v", p)
	}
	var sessions, keys, waiting int64
	must(t, h.db.QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM session s WHERE s.account_id = $1 AND s.ended_at = 0 AND s.epoch = 2 AND s.mode <> 'protective'),
		(SELECT count(*) FROM api_key k WHERE k.account_id = $1 AND k.deleted_at = 0 AND k.epoch = 2),
		(SELECT count(*) FROM withdrawal w WHERE w.account_id = $1 AND w.state IN ('requested', 'confirmed'))`, string(e.id)).Scan(&sessions, &keys, &waiting))
	if sessions != 0 || keys != 0 || waiting != 0 {
		t.Errorf("%d sessions, %d keys and %d withdrawals are open", sessions, keys, waiting)
	}
	profile, err := account.ReadProfile(t.Context(), h.db, e.id)
	must(t, err)
	if profile.Mail != holderMail {
		t.Errorf("the address is %s", profile.Mail)
	}
	entries, err := evidence.Read(t.Context(), h.db, h.db.Keys(), e.id, 0, 500)
	must(t, err)
	if !slices.ContainsFunc(entries, func(x evidence.Entry) bool { return x.Act == permit.Freeze }) {
		t.Error("the freeze is not in the evidence")
	}
}
