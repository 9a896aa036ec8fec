package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/account"
	"holdfast/api/client"
	"holdfast/examples/exchange"
)

// stage is where the demonstration plays: a Holdfast server and an exchange that knows it by its
// API only, on loopback, with their state in one folder.
type stage struct {
	dir   string
	log   *slog.Logger
	cast  cast
	holds *running

	exchange    *exchange.Exchange
	exchangeURL string
	caFile      string
	served      *errgroup.Group
	stopServing context.CancelFunc
	roads       []*road
}

// Files of the demonstration in its state folder.
const (
	markFile    = "demonstration" // says that the folder is the demonstration's own
	castFile    = "cast.json"
	placesFile  = "places.mmdb"
	exchangeKey = "exchange-key.json"
	exchangeDir = "exchange"
	caCopy      = "ca.pem"
)

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// desk is where the demonstration's commands go.
func (s *stage) desk() desk { return desk{State: s.dir} }

// operatorKeyFile is where an operator of the demonstration keeps the key.
func (s *stage) operatorKeyFile(name string) string { return s.path(name + ".key") }

// openStage makes what is missing in the folder and starts server and exchange. It listens on
// loopback only; cfg's addresses and mail server are kept, the rest is the demonstration's.
func openStage(ctx context.Context, cfg Config, exchangeAddr string, log *slog.Logger) (*stage, error) {
	s := &stage{dir: cfg.State, log: log}
	// The actors' roads are proxies on this machine; a real server believes none by default.
	cfg.TrustedProxies = []string{"127.0.0.1"}
	cfg.GeoIP = s.path(placesFile)
	if err := cfg.check(true); err != nil {
		return nil, err
	}
	if near, err := onLoopback(exchangeAddr); err != nil || !near {
		return nil, withHint(fmt.Errorf("the exchange's address %q is not on this machine", exchangeAddr), "use an address that begins with 127.0.0.1")
	}
	l, err := listen("--exchange", "HOLDFAST_EXCHANGE", exchangeAddr)
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, cfg, l); err != nil {
		return nil, errors.Join(err, s.close(ctx), l.Close())
	}
	return s, nil
}

func (s *stage) open(ctx context.Context, cfg Config, l net.Listener) error {
	if err := s.claim(); err != nil {
		return err
	}
	if _, err := makeKeys(s.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := writePlaces(s.path(placesFile)); err != nil {
		return err
	}
	if err := s.readCast(ctx, cfg); err != nil {
		return err
	}
	var err error
	if s.holds, err = start(ctx, cfg, s.log); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	s.exchangeURL = "https://localhost:" + port
	if err := s.enrol(ctx); err != nil {
		return err
	}
	return s.openExchange(ctx, l)
}

// claim marks the folder as the demonstration's own, and refuses one that holds somebody else's state:
// the demonstration plants its past anew where that broke off, and would remove a real server's
// database, which HOLDFAST_STATE may name.
func (s *stage) claim() error {
	for _, own := range []string{markFile, castFile} {
		if _, err := os.Stat(s.path(own)); err == nil {
			return nil
		}
	}
	for _, theirs := range []string{sqliteFile, keysFile, socketFile} {
		if _, err := os.Lstat(s.path(theirs)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return withHint(fmt.Errorf("%s holds %s, which the demonstration did not make", s.dir, theirs), "give the demonstration a folder of its own with --state")
		}
	}
	return os.WriteFile(s.path(markFile), []byte("Made by holdfast run or demo. Nothing here is real.\n"), 0o600)
}

// readCast reads the cast, or plants its past. A past that was planted in part is planted anew:
// nothing else can have happened in the folder by then.
func (s *stage) readCast(ctx context.Context, cfg Config) error {
	raw, err := os.ReadFile(s.path(castFile))
	if err == nil {
		return json.Unmarshal(raw, &s.cast)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{sqliteFile, sqliteFile + "-wal", sqliteFile + "-shm"} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	db, err := openStore(ctx, cfg, nil)
	if err != nil {
		return err
	}
	s.cast, err = plantPast(ctx, cfg, db, s.log)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return writeSecret(s.path(castFile), s.cast)
}

// enrol makes the operators' keys and the exchange's service key with the same commands that
// anybody would type, and skips what an earlier start made.
func (s *stage) enrol(ctx context.Context) error {
	var known []enrolled
	if err := s.desk().ask(ctx, "operator-list", struct{}{}, &known); err != nil {
		return err
	}
	for _, name := range []string{operatorA, operatorB} {
		if slices.ContainsFunc(known, func(e enrolled) bool { return e.Name == name }) {
			continue
		}
		// A file without its operator is left from a start that was cut off.
		if err := os.Remove(s.operatorKeyFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := (operatorAddCmd{desk: s.desk(), Name: name, Out: s.operatorKeyFile(name), Yes: true}).Run(ctx, quiet); err != nil {
			return err
		}
	}
	return s.enrolExchange(ctx)
}

// enrolExchange makes the exchange's service key. Sign-ins come back to a registered address only,
// so an exchange that has moved to another port gets a new key, and the old one ends.
func (s *stage) enrolExchange(ctx context.Context) error {
	moved := s.path("exchange-url")
	if at, err := os.ReadFile(moved); err == nil && string(at) == s.exchangeURL {
		return nil
	}
	if old, _, err := client.ReadKeyFile(s.path(exchangeKey)); err == nil {
		if err := (serviceRemoveCmd{desk: s.desk(), ID: old.ID, Yes: true}).Run(ctx, quiet); err != nil {
			return err
		}
		if err := os.Remove(s.path(exchangeKey)); err != nil {
			return err
		}
	}
	add := serviceAddCmd{desk: s.desk(), Name: "exchange", ReturnTo: []string{s.exchangeURL + "/callback"},
		Scopes: account.ServiceScopes, Out: s.path(exchangeKey), Yes: true}
	if err := add.Run(ctx, quiet); err != nil {
		return err
	}
	return os.WriteFile(moved, []byte(s.exchangeURL), 0o600)
}

// openExchange opens the exchange with its service key, and money in it the first time.
func (s *stage) openExchange(ctx context.Context, l net.Listener) error {
	hold, err := client.New(client.Config{URL: s.holds.house.apiURL, KeyFile: s.path(exchangeKey), Log: s.log})
	if err != nil {
		return err
	}
	cfg := exchange.Config{
		StateDir: s.path(exchangeDir), Guard: hold.Guard, SignIn: hold.SignIn, Ledger: hold.Ledger,
		HoldfastPages: s.holds.house.cfg.base(), PublicURL: s.exchangeURL, Faucet: true,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Log: s.log,
	}
	if err := s.fund(ctx, cfg); err != nil {
		return err
	}
	if s.exchange, err = exchange.Open(ctx, cfg); err != nil {
		return err
	}
	pem, err := os.ReadFile(s.exchange.CAFile())
	if err != nil {
		return err
	}
	s.caFile = s.path(caCopy)
	if err := os.WriteFile(s.caFile, pem, 0o644); err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopServing, s.served = stop, new(errgroup.Group)
	s.served.Go(func() error { return s.exchange.Serve(serving, l) })
	return s.linked(ctx)
}

// linked waits until the exchange hears of freezes.
func (s *stage) linked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !s.exchange.Linked() {
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("the exchange does not hear from Holdfast: %w", ctx.Err())
		}
	}
	return nil
}

// deposits is what the cast had when it came to the exchange, by name of the arrival.
var deposits = []struct{ who, asset, amount string }{
	{holderMail, "BTC", "1.2"},
	{holderMail, "USDT", "30000"},
	{bystanderMail, "BTC", "5"},
	{bystanderMail, "USDT", "400000"},
}

// fund lets the cast's money arrive, a day after they signed up. An arrival is known by its name and
// counts once, so that this can run at every start.
func (s *stage) fund(ctx context.Context, cfg exchange.Config) error {
	if _, err := os.Stat(s.path("funded")); err == nil {
		return nil
	}
	then := time.Now().AddDate(0, 0, 1-pastDays)
	cfg.Now = func() time.Time { return then }
	x, err := exchange.Open(ctx, cfg)
	if err != nil {
		return err
	}
	for _, d := range deposits {
		who := s.cast.Holder
		if d.who == bystanderMail {
			who = s.cast.Bystander
		}
		if err := x.Deposit(ctx, who.Account, d.asset, d.amount, "first deposit of "+d.asset+" by "+d.who); err != nil {
			return errors.Join(err, x.Close())
		}
	}
	return errors.Join(x.Close(), os.WriteFile(s.path("funded"), nil, 0o600))
}

// road lays a road to the exchange, or to Holdfast's pages or API, for an actor.
func (s *stage) road(target, address string) (*road, error) {
	roots, err := readRoots(s.caFile)
	if err != nil {
		return nil, err
	}
	r, err := layRoad(target, address, roots)
	if err == nil {
		s.roads = append(s.roads, r)
	}
	return r, err
}

// close stops everything in the order opposite to its start.
func (s *stage) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, r := range s.roads {
		errs = append(errs, r.close())
	}
	if s.served != nil {
		s.stopServing()
		errs = append(errs, s.served.Wait())
	}
	if s.exchange != nil {
		errs = append(errs, s.exchange.Close())
	}
	if s.holds != nil {
		errs = append(errs, s.holds.stop(ctx))
	}
	return errors.Join(errs...)
}
