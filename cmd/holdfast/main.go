// Command holdfast stops an account takeover in one tap: the server, the commands of its operators,
// and the demonstration, in one binary.
//
// It joins the rooms and owns what stands between them and the machine: settings, listeners, the
// operators' socket, the order of starting and stopping. What can go wrong here: a server that comes
// up half, in the open, or without mail, and that nobody notices until the night it is needed. So it
// refuses to start rather than start weakened, names what is missing, and decides nothing about any
// account itself: every act goes through the rooms' one door. Commands never touch the database
// beside a running server; they ask it through its socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"holdfast/fault"
)

// commands is the table of contents: one field a verb, one file a verb.
type commands struct {
	Run  runCmd  `cmd:"" help:"The whole demonstration on this machine: server, exchange, mailbox, thief."`
	Demo demoCmd `cmd:"" help:"Play the story once, in a few seconds, and say whether anything got out after the freeze."`

	Init   initCmd   `cmd:"" help:"Make the key file and say what to back up."`
	Serve  serveCmd  `cmd:"" help:"Run the server."`
	Config configCmd `cmd:"" help:"Print every setting: its default and the accident it prevents."`
	Unsent unsentCmd `cmd:"" help:"List the mails that have not left, and why."`
	DKIM   dkimCmd   `cmd:"" name:"dkim" help:"Print the DNS records by which receivers believe our mails."`

	Freeze  freezeCmd  `cmd:"" help:"Close every exit of an account."`
	Restore restoreCmd `cmd:"" help:"Open a frozen account again: one operator proposes, another approves."`
	Status  statusCmd  `cmd:"" help:"Show how an account is protected now."`
	Export  exportCmd  `cmd:"" help:"Write an account's evidence chain to a file."`
	Verify  verifyCmd  `cmd:"" help:"Check an exported evidence chain, without server or network."`

	Service  serviceCmd  `cmd:"" help:"Keys with which platforms call the API."`
	Operator operatorCmd `cmd:"" help:"People who may restore accounts."`
	Clock    clockCmd    `cmd:"" help:"Show the server's time; confirm it after a jump of the system's clock."`
}

// console is where a verb reads and writes. Results go to out, talk goes to talk.
type console struct {
	out  io.Writer
	talk io.Writer
}

// say writes a line of talk. A terminal that is gone changes nothing about what was done.
func (c console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.talk, format+"\n", args...)
}

// hinted is an error that says what to do about it.
type hinted struct {
	err  error
	hint string
}

func (h hinted) Error() string { return h.err.Error() }
func (h hinted) Unwrap() error { return h.err }

// withHint adds what to do to an error.
func withHint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// errNothingDone ends a command that only showed what it would do.
var errNothingDone = withHint(errors.New("nothing was done"), "add --yes to do it")

// Exit statuses.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2 // the command line cannot be carried out as it is; nothing was done
)

func main() {
	// Whatever this program makes is its owner's only, the files of its libraries too.
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to stop in good order; after it, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], console{os.Stdout, os.Stderr}))
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, c console) int {
	var cli commands
	status := -1
	parser, err := kong.New(&cli,
		kong.Name("holdfast"),
		kong.Description("Holdfast stops an account takeover in one tap."),
		kong.Writers(c.out, c.talk),
		kong.Exit(func(code int) { status = code }),
	)
	if err != nil {
		return complain(c, err)
	}
	chosen, err := parser.Parse(args)
	if status >= 0 { // --help was asked for and printed
		return status
	}
	if err != nil {
		complain(c, withHint(err, "holdfast --help lists the commands"))
		return statusUsage
	}
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(c); err != nil {
		return complain(c, err)
	}
	return statusDone
}

// complain says what went wrong and what to do, and returns the exit status.
func complain(c console, err error) int {
	if errors.Is(err, errQuiet) {
		return statusFailed
	}
	c.say("holdfast: %s", sentence(err))
	if h, ok := errors.AsType[hinted](err); ok {
		c.say("hint: %s", h.hint)
	}
	if errors.Is(err, errNothingDone) {
		return statusUsage
	}
	return statusFailed
}

// errQuiet ends a command that has already said all there is to say.
var errQuiet = errors.New("failed")

// sentence is the error as an operator reads it: here, unlike on a page, the cause helps.
func sentence(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if f.Cause != nil {
		return f.Say + " (" + f.Cause.Error() + ")"
	}
	return f.Say
}

// quiet is a console that nobody reads.
var quiet = console{io.Discard, io.Discard}
