// Command pgrun runs a command with a private PostgreSQL beside it: `pgrun -- go test ./...`.
//
// One run of many test binaries then shares one server instead of starting one each. The command
// finds it in HOLDFAST_TEST_POSTGRES; package storetest reads it. pgrun ends with the command's
// exit status, passes signals on to it, and leaves neither server nor files behind. It refuses to
// run the command without a server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"holdfast/store/storetest/cluster"
)

func main() {
	durable := flag.Bool("durable", false, "keep fsync, full_page_writes and synchronous_commit on")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: pgrun [-durable] -- COMMAND [ARGUMENT...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(*durable, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgrun:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(durable bool, command []string) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	c, err := cluster.Start(context.Background(), cluster.Options{Durable: durable})
	if err != nil {
		return 0, err
	}
	defer c.Stop()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_POSTGRES="+c.DSN("postgres"))
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have ended just now
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return max(1, exit.ExitCode()), nil // -1 after a signal
			}
			return 0, err
		}
	}
}
