package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"holdfast/guard"
	"holdfast/notice"
)

// Config is everything that an operator can set. Each field is a flag and an environment variable;
// its tags hold the default, what it does, and the accident that it prevents. `holdfast config`
// prints them as docs/configuration.md. A field that is absent works.
type Config struct {
	State    string `default:"holdfast-state" env:"HOLDFAST_STATE" placeholder:"DIR" help:"Folder with the key file, the operators' socket and, without --database, the SQLite database." accident:"State scattered over a machine is backed up in part. One folder, of mode 0700, holds all of it but a PostgreSQL database."`
	Database string `env:"HOLDFAST_DATABASE" placeholder:"URL" help:"PostgreSQL database, as postgres://user@host/name. Without it, the SQLite file holdfast.db in the state folder." accident:"PostgreSQL with fsync, full_page_writes or synchronous_commit off is refused: it could forget a freeze in a power cut. Give the URL in the environment, not as a flag: other users of the machine can read flags."`

	Pages     string `default:"127.0.0.1:8080" env:"HOLDFAST_PAGES" placeholder:"ADDR" help:"Where the holders' pages listen."  accident:"Only loopback by default: a server that somebody tries out must not be reachable by others."`
	API       string `name:"api" default:"127.0.0.1:8082" env:"HOLDFAST_API" placeholder:"ADDR" help:"Where the API listens." accident:"A listener of its own, so that a firewall can keep the API from the outside while the pages stay reachable."`
	PublicURL string `name:"public-url" env:"HOLDFAST_PUBLIC_URL" placeholder:"URL" help:"Address of the pages as holders see it, without a slash at its end. Without it, http:// and the pages' listener." accident:"Every link in a mail begins with it. Taken from the request instead, a forged Host header would put a thief's address into our mails."`
	TLSCert   string `name:"tls-cert" env:"HOLDFAST_TLS_CERT" placeholder:"FILE" type:"path" help:"Certificate (PEM) for pages and API." accident:"Plain HTTP is refused off loopback: passwords and links would cross the network in clear."`
	TLSKey    string `name:"tls-key" env:"HOLDFAST_TLS_KEY" placeholder:"FILE" type:"path" help:"Key (PEM) of the certificate." accident:"As above."`

	BehindProxy    bool     `env:"HOLDFAST_BEHIND_PROXY" help:"A proxy in front speaks TLS; plain HTTP is then allowed on any address." accident:"Off by default, so that nobody serves passwords in clear because a proxy was planned and never came."`
	TrustedProxies []string `env:"HOLDFAST_TRUSTED_PROXIES" placeholder:"PREFIX" help:"Addresses or prefixes of proxies whose X-Forwarded-For is believed." accident:"Empty by default: believed from anyone, the header lets a thief choose the address that mails and limits see."`

	MailHost         string `env:"HOLDFAST_MAIL_HOST" placeholder:"HOST" help:"Mail server (SMTP) that takes outgoing mail." accident:"The server refuses to start without one: a freeze link that is never sent warns nobody."`
	MailPort         int    `default:"587" env:"HOLDFAST_MAIL_PORT" placeholder:"PORT" help:"Port of the mail server." accident:"Port 587 asks for TLS and a sign-in; port 25 often goes out unprotected."`
	MailTLS          string `name:"mail-tls" default:"starttls" enum:"starttls,tls,plain" env:"HOLDFAST_MAIL_TLS" placeholder:"MODE" help:"starttls, tls, or plain to a server on this machine only." accident:"There is no \"if possible\": whoever sits between would say that it is not, and read the freeze links."`
	MailUser         string `env:"HOLDFAST_MAIL_USER" placeholder:"NAME" help:"User name at the mail server." accident:"Never sent without TLS."`
	MailPasswordFile string `env:"HOLDFAST_MAIL_PASSWORD_FILE" placeholder:"FILE" type:"path" help:"File with the password at the mail server." accident:"A password in a flag or in the environment can be read by other processes and ends up in logs."`
	MailFrom         string `env:"HOLDFAST_MAIL_FROM" placeholder:"MAILBOX" help:"Sender of all mails, as \"Holdfast <security@example.com>\"." accident:"One sender that holders can learn; its domain is what DKIM signs."`
	Name             string `default:"Holdfast" env:"HOLDFAST_NAME" placeholder:"NAME" help:"What mails call the service." accident:"A holder who does not know the name takes the warning for spam."`

	SessionIdle time.Duration `default:"12h" env:"HOLDFAST_SESSION_IDLE" help:"End of a session that is not used." accident:"A session forgotten on a borrowed machine stays a way in."`
	SessionMost time.Duration `default:"720h" env:"HOLDFAST_SESSION_MOST" help:"End of every session." accident:"A stolen session that is kept warm would never end."`
	MailedCode  time.Duration `default:"10m" env:"HOLDFAST_MAILED_CODE" help:"How long a code sent by mail works; five tries." accident:"A code that works for a day can be read from a mailbox that is broken into later."`
	KeyWait     time.Duration `default:"24h" env:"HOLDFAST_KEY_WAIT" help:"How long a new API key waits before it may withdraw." accident:"A thief who makes a key would empty the account before the mail about it is read."`

	Hold map[string]time.Duration `name:"hold" env:"HOLDFAST_HOLD" placeholder:"KIND=LENGTH" mapsep:"," help:"Length of a kind of hold, as password_changed=24h,restored=48h. Kinds: mail_changed, password_changed, password_reset, phone_changed, restored, unproven_report." accident:"What opens waits, is announced, and can be stopped meanwhile; a thief who changed the password this morning withdraws nothing today. Without it, the lengths of guard/holds.json."`

	HashMemory uint32 `default:"19456" env:"HOLDFAST_HASH_MEMORY" placeholder:"KIB" help:"Memory of one password hash (argon2id), in KiB." accident:"Less makes a stolen database cheap to guess at. 19 MiB with 2 passes is OWASP's floor."`
	HashPasses uint32 `default:"2" env:"HOLDFAST_HASH_PASSES" placeholder:"N" help:"Passes of one password hash." accident:"As above."`
	Hashers    int    `default:"0" env:"HOLDFAST_HASHERS" placeholder:"N" help:"Password hashes at once; 0 is one for each processor." accident:"Unbounded, a flood of sign-ins takes all memory, and freezing with it."`

	SendWindow time.Duration `default:"30s" env:"HOLDFAST_SEND_WINDOW" help:"How long after its confirmation a withdrawal may still be sent." accident:"A long one lets money leave after a freeze that was confirmed well before it."`
	GeoIP      string        `name:"geoip" env:"HOLDFAST_GEOIP" placeholder:"FILE" type:"path" help:"Database of places of addresses (MaxMind format). Without it no places are shown." accident:"A holder tells a stranger's sign-in by its place first."`

	AcceptLostHistory bool          `env:"HOLDFAST_ACCEPT_LOST_HISTORY" help:"Start although the database has forgotten closings that this node has seen. Give it once, after bringing back a back-up." accident:"A database from a back-up, or from a standby that was behind, has accounts open that were frozen. The server refuses to start on it, and what is accepted is recorded."`
	Drain             time.Duration `default:"10s" env:"HOLDFAST_DRAIN" help:"How long open requests may finish when the server is asked to stop." accident:"A press on Freeze in its last millisecond would get no answer."`
	LogFormat         string        `default:"text" enum:"text,json" env:"HOLDFAST_LOG_FORMAT" placeholder:"FORMAT" help:"text or json." accident:"A log that no machine can read hides the one line that matters."`
}

// fixed is what is decided and cannot be set, because each weaker value has cost somebody an account.
var fixed = []struct{ what, value, accident string }{
	{"Request body", "1 MiB", "Unbounded bodies take all memory."},
	{"Request header", "16 KiB", "As above."},
	{"Link that verifies a mail address", span(notice.Lifetime(notice.VerifyPurpose)), "Whoever gets a mailbox years later could finish an old sign-up."},
	{"Link that resets a password", span(notice.Lifetime(notice.ResetPurpose)) + ", once", "Old mails in a mailbox that is broken into would open the account."},
	{"Freeze link", span(notice.Lifetime(notice.FreezeLinkPurpose)) + ", 128 bits, kept as a hash", "The mail that warned somebody is often read weeks later."},
	{"Freeze code", "four groups of five characters, 95 random bits and a check character", "One that is short can be guessed; one without a check character is mistyped at night."},
	{"Password", "12 characters, upper and lower case, digit, symbol", "Shorter ones are guessed from a stolen database in hours."},
	{"Lanes of a password hash", "1, in a pool that is bounded", "A flood of sign-ins would take every processor, and freezing with it."},
	{"Sign-in attempts", "10 wrong ones for an account in 15 minutes, the same for an address that has none; a remembered device has 10 of its own", "Passwords would be guessed; and a limit that only real accounts have tells who has one."},
	{"Freeze with a right proof", "never limited", "A thief who floods the account would keep its holder from closing it."},
	{"Plain HTTP", "on loopback, or with --behind-proxy", "Passwords and freeze links would cross the network in clear."},
	{"Mailbox page", "demonstration on loopback only", "Whoever can open it can read every link."},
}

// span writes a time as people say it.
func span(d time.Duration) string {
	switch {
	case d > 72*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	default:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
}

// holds are the lengths of holds, with those that were set.
func (c Config) holds() (guard.Lengths, error) {
	lengths, err := guard.DefaultLengths()
	if err != nil {
		return nil, err
	}
	for kind, length := range c.Hold {
		if _, ok := lengths[guard.HoldKind(kind)]; !ok {
			return nil, withHint(fmt.Errorf("--hold: there is no kind %q", kind), "holdfast config lists the kinds")
		}
		if length < 0 {
			return nil, fmt.Errorf("--hold: %s cannot be negative", kind)
		}
		lengths[guard.HoldKind(kind)] = length
	}
	return lengths, nil
}

// Files in the state folder.
const (
	keysFile   = "keys.json"
	sqliteFile = "holdfast.db"
	socketFile = "operator.sock"
)

func (c Config) keys() string   { return filepath.Join(c.State, keysFile) }
func (c Config) socket() string { return filepath.Join(c.State, socketFile) }

// dsn is the database's address as store reads it.
func (c Config) dsn() string {
	if c.Database != "" {
		return c.Database
	}
	return "sqlite:" + filepath.Join(c.State, sqliteFile)
}

// base is the address of the pages in links.
func (c Config) base() string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + c.Pages
}

// proxies reads TrustedProxies.
func (c Config) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range c.TrustedProxies {
		if addr, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, withHint(fmt.Errorf("--trusted-proxies: %q is neither an address nor a prefix", text), "write it as 10.0.0.7 or 10.0.0.0/24")
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

// check refuses settings under which the server would run weakened. demo is the demonstration,
// which may do without a mail server because it listens on loopback only.
func (c Config) check(demo bool) error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return withHint(fmt.Errorf("--tls-cert and --tls-key belong together"), "give both or neither")
	}
	for flag, addr := range map[string]string{"pages": c.Pages, "api": c.API} {
		near, err := onLoopback(addr)
		if err != nil {
			return withHint(fmt.Errorf("--%s %q: %w", flag, addr, err), "write it as 127.0.0.1:8080")
		}
		if near {
			continue
		}
		if demo {
			return withHint(fmt.Errorf("--%s %s: the demonstration listens on loopback only, because anyone who reaches it can read its mails", flag, addr), "use an address that begins with 127.0.0.1")
		}
		if c.TLSCert == "" && !c.BehindProxy {
			return withHint(fmt.Errorf("--%s %s: passwords and freeze links would cross the network in clear", flag, addr),
				"give --tls-cert and --tls-key, or --behind-proxy if a proxy in front speaks TLS")
		}
	}
	base, err := url.Parse(c.base())
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return withHint(fmt.Errorf("--public-url %q is not an address of pages", c.PublicURL), "write it as https://holdfast.example")
	}
	if base.Scheme == "http" && base.Hostname() != "localhost" && !net.ParseIP(base.Hostname()).IsLoopback() {
		return withHint(fmt.Errorf("--public-url %s: links in mails would be opened in clear", c.base()), "write it with https://")
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	if _, err := c.holds(); err != nil {
		return err
	}
	if demo {
		return nil
	}
	if c.MailHost == "" || c.MailFrom == "" {
		return withHint(fmt.Errorf("there is no mail server: a freeze link that is never sent warns nobody"),
			"give --mail-host and --mail-from; to try Holdfast without a mail server, use holdfast run")
	}
	return nil
}

// mailPassword reads the password's file.
func (c Config) mailPassword() (string, error) {
	if c.MailPasswordFile == "" {
		return "", nil
	}
	raw, err := os.ReadFile(c.MailPasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the mail password: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// onLoopback reports whether a listening address is reachable from this machine only.
func onLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("not an address with a port")
	}
	if host == "localhost" {
		return true, nil
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback(), nil
}

// configCmd prints Config as documentation.
type configCmd struct{}

// Help says where the page is kept.
func (configCmd) Help() string { return "The same page is docs/configuration.md." }

// Run prints the page.
func (configCmd) Run(c console) error { return writeConfig(c.out) }

// writeConfig writes the page about every setting, from the tags of Config.
func writeConfig(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Configuration\n\nThis page is printed by `holdfast config`. Each setting of `holdfast serve` is a flag and an environment\nvariable; a flag wins. Nothing has to be set but a mail server.\n")
	for field := range reflect.TypeFor[Config]().Fields() {
		tag := field.Tag
		name := tag.Get("name")
		if name == "" {
			name = dashed(field.Name)
		}
		value := tag.Get("default")
		if value == "" {
			value = "none"
			if field.Type.Kind() == reflect.Bool {
				value = "off"
			}
		}
		fmt.Fprintf(&b, "\n## --%s\n\n%s\n\n- Variable: `%s`\n- Default: `%s`\n- Accident it prevents: %s\n", name, tag.Get("help"), tag.Get("env"), value, tag.Get("accident"))
	}
	b.WriteString("\n## What cannot be set\n\n| what | value | accident it prevents |\n|---|---|---|\n")
	for _, f := range fixed {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.what, f.value, f.accident)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// dashed turns a field's name into its flag, as kong does: MailPasswordFile is mail-password-file.
func dashed(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
