// Command exchange runs the example exchange against a Holdfast server.
//
//	holdfast service add exchange --return-to https://localhost:8443/callback --out exchange-key.json
//	exchange -key exchange-key.json -pages http://localhost:8080
//
// It serves TLS with a certificate of its own making; the CA to trust is ca.pem in the state
// folder. It stops on SIGINT and SIGTERM and goes on where it was when it is started again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"holdfast/api/client"
	"holdfast/examples/exchange"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "exchange:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("exchange", flag.ContinueOnError)
	var (
		key      = flags.String("key", "exchange-key.json", "service key file that `holdfast service add` printed")
		api      = flags.String("api", "", "address of Holdfast's API; default: the one in the key file")
		pages    = flags.String("pages", "http://localhost:8080", "address of Holdfast's pages")
		state    = flags.String("state", ".run/exchange", "folder for the database and certificates")
		listen   = flags.String("listen", "127.0.0.1:8443", "address to serve on")
		public   = flags.String("public", "https://localhost:8443", "this exchange's own address, as visitors know it")
		delay    = flags.Duration("withdrawal-delay", 2*time.Minute, "how long a withdrawal waits before it is sent")
		transfer = flags.Duration("transfer-delay", 0, "how long a transfer to another customer waits")
		faucet   = flags.Bool("faucet", false, "let visitors credit themselves; for demonstrations only")
		proxies  = flags.String("trusted-proxies", "", "comma-separated networks whose X-Forwarded-For is believed")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := exchange.Config{
		StateDir: *state, HoldfastPages: *pages, PublicURL: *public, WithdrawalDelay: *delay, TransferDelay: *transfer,
		Faucet: *faucet, Log: log,
	}
	if *proxies != "" {
		for part := range strings.SplitSeq(*proxies, ",") {
			network, err := netip.ParsePrefix(strings.TrimSpace(part))
			if err != nil {
				return fmt.Errorf("-trusted-proxies: %w", err)
			}
			cfg.TrustedProxies = append(cfg.TrustedProxies, network)
		}
	}
	hold, err := client.New(client.Config{URL: *api, KeyFile: *key, Log: log})
	if err != nil {
		return err
	}
	cfg.Guard, cfg.SignIn, cfg.Ledger = hold.Guard, hold.SignIn, hold.Ledger
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	x, err := exchange.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	log.Info("serving", "address", *public, "ca", x.CAFile())
	err = x.Serve(ctx, l)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, x.Close())
}
