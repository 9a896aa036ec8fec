// Package standin is a stand-in for Holdfast, for the tests of the example exchange: a real
// Connect server that keeps everything in memory and follows the contract closely enough
// that an exchange and unmodified clients run against it. It verifies HMAC and Ed25519
// signatures, freezes and restores with epochs, cancels withdrawals, streams closings with
// positions, and takes receipts and movements.
//
// It protects nothing: no persistence, no evidence, no people, no rate limits. Its zero
// value is not usable; make one with New.
package standin

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "holdfast/api/holdfast/v1"
	"holdfast/api/holdfast/v1/holdfastv1connect"
)

// Server is the stand-in. Its methods may be called concurrently.
type Server struct {
	holdfastv1connect.UnimplementedGuardServiceHandler
	holdfastv1connect.UnimplementedSignInServiceHandler
	holdfastv1connect.UnimplementedLedgerServiceHandler

	http *httptest.Server

	mu          sync.Mutex
	changed     *sync.Cond // on mu: the feed, receipts or movements grew, or the server closes
	closed      bool
	accounts    map[string]*account
	keys        map[string]*key
	sessions    map[string]*session
	codes       map[string]*session
	withdrawals map[string]*holdfastv1.Withdrawal
	requested   map[string]string // idempotency key -> withdrawal id
	bodies      map[string]string // idempotency key -> what it named
	requesters  map[string]string // withdrawal id -> key id
	feed        []*holdfastv1.Closing
	exits       []string // registered by the enforcer
	receipts    []*holdfastv1.SubmitReceiptRequest
	movements   map[string]*holdfastv1.Movement
	order       []string // references of movements as they came
	down        bool
	onCheck     func(*holdfastv1.CheckRequest)
	lose        bool
	holdNext    string
}

type account struct {
	id, mail string
	epoch    int64
	frozen   bool
	// held maps an exit to the reason of its hold.
	held map[string]string
}

type key struct {
	id, account string
	secret      []byte
	public      ed25519.PublicKey
	scopes      []string
	addresses   []string
	created     time.Time
	deleted     bool
}

type session struct {
	secret, id, account string
	epoch               int64
	ended               bool
}

// New starts a stand-in on a loopback port.
func New() *Server {
	s := &Server{
		accounts: map[string]*account{}, keys: map[string]*key{}, sessions: map[string]*session{}, codes: map[string]*session{},
		withdrawals: map[string]*holdfastv1.Withdrawal{}, requested: map[string]string{}, bodies: map[string]string{},
		movements: map[string]*holdfastv1.Movement{}, requesters: map[string]string{},
	}
	s.changed = sync.NewCond(&s.mu)
	mux := http.NewServeMux()
	mux.Handle(holdfastv1connect.NewGuardServiceHandler(s))
	mux.Handle(holdfastv1connect.NewSignInServiceHandler(s))
	mux.Handle(holdfastv1connect.NewLedgerServiceHandler(s))
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isDown() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return s
}

// Close stops the server.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL is the address of the stand-in.
func (s *Server) URL() string { return s.http.URL }

// Guard returns a client of the stand-in.
func (s *Server) Guard() holdfastv1connect.GuardServiceClient {
	return holdfastv1connect.NewGuardServiceClient(s.http.Client(), s.http.URL)
}

// SignIn returns a client of the stand-in.
func (s *Server) SignIn() holdfastv1connect.SignInServiceClient {
	return holdfastv1connect.NewSignInServiceClient(s.http.Client(), s.http.URL)
}

// Ledger returns a client of the stand-in.
func (s *Server) Ledger() holdfastv1connect.LedgerServiceClient {
	return holdfastv1connect.NewLedgerServiceClient(s.http.Client(), s.http.URL)
}

func (s *Server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// SetDown makes every call fail, as if the server were gone, and ends open streams; or lets
// it answer again.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.changed.Broadcast()
	s.mu.Unlock()
}

// OnCheck has fn called at the start of each Check, before it is decided.
func (s *Server) OnCheck(fn func(*holdfastv1.CheckRequest)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCheck = fn
}

// LoseNextRequest records the next RequestWithdrawal and answers it with an error, as a
// connection that breaks at the wrong moment does.
func (s *Server) LoseNextRequest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = true
}

// HoldNextRequest has the next RequestWithdrawal answered with a hold.
func (s *Server) HoldNextRequest(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdNext = reason
}

// LoseHistory forgets every closing, as a database restored from an old back-up does, and
// ends open streams.
func (s *Server) LoseHistory() {
	s.mu.Lock()
	s.feed = nil
	s.mu.Unlock()
	s.http.CloseClientConnections()
}

// FindHistory puts closings back in the place of those that were lost.
func (s *Server) FindHistory(n int, account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.feed) < n {
		s.publish(&holdfastv1.Closing{AccountId: account, Kind: "hold", Epoch: s.accounts[account].epoch})
	}
}

// Confirm confirms a withdrawal behind the platform's back and returns it.
func (s *Server) Confirm(account, id string) *holdfastv1.Withdrawal {
	answer, err := s.ConfirmWithdrawal(context.Background(), connect.NewRequest(&holdfastv1.ConfirmWithdrawalRequest{
		Account:      &holdfastv1.AccountRef{Name: &holdfastv1.AccountRef_AccountId{AccountId: account}},
		WithdrawalId: id,
	}))
	if err != nil {
		return nil
	}
	return answer.Msg.GetWithdrawal()
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// AddAccount makes an account and returns its id.
func (s *Server) AddAccount(mail string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("0193-%s", random(12))
	s.accounts[id] = &account{id: id, mail: mail, epoch: 1, held: map[string]string{}}
	return id
}

// APIKey is a key as its owner receives it.
type APIKey struct {
	ID string `json:"key"`
	// Secret is the HMAC secret, or the Ed25519 private key as PKCS#8 PEM.
	Secret string `json:"secret"`
}

// AddHMACKey gives an account a key. An address list, if there is one, ties it to addresses.
func (s *Server) AddHMACKey(account string, scopes, addresses []string) APIKey {
	secret := random(32)
	return s.addKey(&key{account: account, secret: []byte(secret), scopes: scopes, addresses: addresses}, secret)
}

// AddEd25519Key gives an account a key pair.
func (s *Server) AddEd25519Key(account string, scopes, addresses []string) (APIKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return APIKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return APIKey{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return s.addKey(&key{account: account, public: public, scopes: scopes, addresses: addresses}, string(text)), nil
}

func (s *Server) addKey(k *key, secret string) APIKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.id, k.created = random(32), time.Now()
	s.keys[k.id] = k
	return APIKey{ID: k.id, Secret: secret}
}

// DeleteKey deletes a key and tells the enforcer.
func (s *Server) DeleteKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[id]
	k.deleted = true
	s.publish(&holdfastv1.Closing{AccountId: k.account, Kind: "key_deleted", Epoch: s.accounts[k.account].epoch, CredentialId: id})
}

// Code returns a one-time code for SignInService.Redeem.
func (s *Server) Code(account string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := random(16)
	s.codes[code] = &session{secret: random(32), id: random(8), account: account, epoch: s.accounts[account].epoch}
	return code
}

// Hold holds one exit of an account for a reason.
func (s *Server) Hold(account, exit, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[account].held[exit] = reason
}

// Freeze freezes an account and returns its new epoch: withdrawals between Request and
// Confirm are cancelled, and the enforcer is told. When it returns the freeze is acknowledged.
func (s *Server) Freeze(account string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[account]
	a.epoch++
	a.frozen = true
	c := &holdfastv1.Closing{AccountId: account, Kind: "freeze", Epoch: a.epoch, Exits: slices.Clone(s.exits)}
	for _, w := range s.withdrawals {
		if w.GetAccountId() != account {
			continue
		}
		switch w.GetState() {
		case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_REQUESTED:
			w.State = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CANCELLED
			c.CancelledWithdrawalIds = append(c.CancelledWithdrawalIds, w.GetWithdrawalId())
		case holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED:
			w.State = holdfastv1.WithdrawalState_WITHDRAWAL_STATE_CONFIRMED_BEFORE_FREEZE
			c.RecallWithdrawalIds = append(c.RecallWithdrawalIds, w.GetWithdrawalId())
		}
	}
	s.publish(c)
	return a.epoch
}

// Restore opens a frozen account again.
func (s *Server) Restore(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[account]
	a.epoch++
	a.frozen = false
	s.publish(&holdfastv1.Closing{AccountId: account, Kind: "restore", Epoch: a.epoch})
}

// publish appends to the feed. The caller holds mu.
func (s *Server) publish(c *holdfastv1.Closing) {
	c.At = timestamppb.Now()
	s.feed = append(s.feed, c)
	s.changed.Broadcast()
}

// wait blocks until done reports true, the deadline passes or the server closes, and returns
// done's last word.
func (s *Server) wait(within time.Duration, done func() bool) bool {
	expired := false
	timer := time.AfterFunc(within, func() {
		s.mu.Lock()
		expired = true
		s.changed.Broadcast()
		s.mu.Unlock()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !done() && !expired && !s.closed {
		s.changed.Wait()
	}
	return done()
}

// Contained waits until every registered exit has a receipt for the account's epoch.
func (s *Server) Contained(account string, within time.Duration) bool {
	return s.wait(within, func() bool {
		for _, exit := range s.exits {
			if !slices.ContainsFunc(s.receipts, func(r *holdfastv1.SubmitReceiptRequest) bool {
				return r.GetAccount().GetAccountId() == account && r.GetEpoch() == s.accounts[account].epoch && r.GetExit() == exit
			}) {
				return false
			}
		}
		return len(s.exits) > 0
	})
}

// Enforced waits until an enforcer has registered.
func (s *Server) Enforced(within time.Duration) bool {
	return s.wait(within, func() bool { return len(s.exits) > 0 })
}

// Receipt returns the last receipt for an exit of an account.
func (s *Server) Receipt(account, exit string) *holdfastv1.SubmitReceiptRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.receipts) {
		if r.GetAccount().GetAccountId() == account && r.GetExit() == exit {
			return r
		}
	}
	return nil
}

// WithdrawalIn waits until the platform's withdrawal is in a state.
func (s *Server) WithdrawalIn(reference string, state holdfastv1.WithdrawalState, within time.Duration) bool {
	return s.wait(within, func() bool {
		for _, w := range s.withdrawals {
			if w.GetReference() == reference && w.GetState() == state {
				return true
			}
		}
		return false
	})
}

// Movements returns what was reported, in the order in which it came.
func (s *Server) Movements() []*holdfastv1.Movement {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*holdfastv1.Movement
	for _, ref := range s.order {
		all = append(all, s.movements[ref])
	}
	return all
}

// Reported waits until at least n movements were reported.
func (s *Server) Reported(n int, within time.Duration) bool {
	return s.wait(within, func() bool { return len(s.order) >= n })
}

// verify checks a signature by the key's own algorithm.
func (k *key) verify(signed, signature []byte) bool {
	if k.public != nil {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.public, signed, signature)
	}
	m := hmac.New(sha256.New, k.secret)
	m.Write(signed)
	return hmac.Equal(m.Sum(nil), signature)
}

// Sign signs a text with a key's secret, in the form that the API expects.
func (k APIKey) Sign(text string) (string, error) {
	if strings.HasPrefix(k.Secret, "-----") {
		block, _ := pem.Decode([]byte(k.Secret))
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return "", err
		}
		return base64.StdEncoding.EncodeToString(ed25519.Sign(private.(ed25519.PrivateKey), []byte(text))), nil
	}
	m := hmac.New(sha256.New, []byte(k.Secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil)), nil
}
