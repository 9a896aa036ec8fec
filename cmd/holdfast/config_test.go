package main

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write generated files anew")

// configuration is the page that `holdfast config` prints.
var configuration = filepath.Join("..", "..", "docs", "configuration.md")

func TestConfigurationPageIsFresh(t *testing.T) {
	var page bytes.Buffer
	if err := writeConfig(&page); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(configuration, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, page.Bytes()) {
		t.Error("docs/configuration.md is not what `holdfast config` prints; go test ./cmd/holdfast -run TestConfigurationPageIsFresh -update")
	}
}

// TestEverySettingSaysWhatItPrevents: a setting that nobody can explain is a setting that somebody
// changes to see what happens.
func TestEverySettingSaysWhatItPrevents(t *testing.T) {
	seen := map[string]string{}
	for field := range reflect.TypeFor[Config]().Fields() {
		for _, tag := range []string{"help", "accident", "env"} {
			if field.Tag.Get(tag) == "" {
				t.Errorf("%s has no %s", field.Name, tag)
			}
		}
		env := field.Tag.Get("env")
		if other := seen[env]; other != "" {
			t.Errorf("%s and %s have one variable, %s", field.Name, other, env)
		}
		seen[env] = field.Name
	}
}

// TestFlagsAreNamedAsThePageSays compares the page's names with those that the parser gives.
func TestFlagsAreNamedAsThePageSays(t *testing.T) {
	_, help, _ := holdfast(t, "serve", "--help")
	var page bytes.Buffer
	if err := writeConfig(&page); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page.String()) {
		if flag, ok := strings.CutPrefix(strings.TrimSpace(line), "## --"); ok && !strings.Contains(help, "--"+flag) && !strings.Contains(help, "--[no-]"+flag) {
			t.Errorf("serve has no flag --%s", flag)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := defaults()
	if c.SessionIdle != 12*time.Hour || c.SessionMost != 30*24*time.Hour || c.HashMemory != 19*1024 || c.HashPasses != 2 || c.Pages != "127.0.0.1:8080" || c.API != "127.0.0.1:8082" {
		t.Errorf("defaults: %+v", c)
	}
	if err := c.check(true); err != nil {
		t.Errorf("the defaults do not do for a demonstration: %v", err)
	}
}

func TestWeakSettingsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		demo   bool
		say    string // empty: accepted
	}{
		"as it is":                       {func(*Config) {}, false, ""},
		"no mail server":                 {func(c *Config) { c.MailHost = "" }, false, "no mail server"},
		"no mail server, demonstration":  {func(c *Config) { c.MailHost = "" }, true, ""},
		"plain off loopback":             {func(c *Config) { c.Pages = "0.0.0.0:80" }, false, "in clear"},
		"plain API off loopback":         {func(c *Config) { c.API = "192.0.2.1:8082" }, false, "in clear"},
		"every address":                  {func(c *Config) { c.Pages = ":8080" }, false, "in clear"},
		"off loopback, behind proxy":     {func(c *Config) { c.Pages, c.BehindProxy, c.PublicURL = ":8080", true, "https://holdfast.example" }, false, ""},
		"demonstration off loopback":     {func(c *Config) { c.Pages, c.BehindProxy = ":8080", true }, true, "loopback only"},
		"links in clear":                 {func(c *Config) { c.PublicURL = "http://holdfast.example" }, false, "in clear"},
		"no address":                     {func(c *Config) { c.PublicURL = "holdfast.example" }, false, "not an address"},
		"half a certificate":             {func(c *Config) { c.TLSCert = "cert.pem" }, false, "belong together"},
		"a proxy that is none":           {func(c *Config) { c.TrustedProxies = []string{"proxy.example"} }, false, "neither an address nor a prefix"},
		"a hold of no kind":              {func(c *Config) { c.Hold = map[string]time.Duration{"nap": time.Hour} }, false, "no kind"},
		"a hold that is negative":        {func(c *Config) { c.Hold = map[string]time.Duration{"restored": -time.Hour} }, false, "negative"},
		"a hold of another length":       {func(c *Config) { c.Hold = map[string]time.Duration{"restored": 72 * time.Hour} }, false, ""},
		"an address that cannot be read": {func(c *Config) { c.API = "8082" }, false, "not an address with a port"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := defaults()
			cfg.MailHost, cfg.MailFrom = "mail.example", "Holdfast <security@holdfast.example>"
			c.change(&cfg)
			err := cfg.check(c.demo)
			if c.say == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say)) {
				t.Errorf("got %v, want %q", err, c.say)
			}
		})
	}
}

// TestForwardedAddress: a stranger's word about where they come from counts for nothing.
func TestForwardedAddress(t *testing.T) {
	cfg := Config{TrustedProxies: []string{"10.0.0.0/8", "127.0.0.1"}}
	proxies, err := cfg.proxies()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ remote, header, want string }{
		{"203.0.113.9:4711", "", "203.0.113.9"},
		{"203.0.113.9:4711", "192.0.2.1", "203.0.113.9"},
		{"10.0.0.1:4711", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:4711", "198.51.100.1, 192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:4711", "198.51.100.1, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
		{"10.0.0.1:4711", "nonsense", "10.0.0.1"},
		{"10.0.0.1:4711", "", "10.0.0.1"},
		{"[::ffff:127.0.0.1]:4711", "2001:db8::1", "2001:db8::1"},
		{"[2001:db8::2]:4711", "192.0.2.1", "2001:db8::2"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.header != "" {
			r.Header.Set("X-Forwarded-For", c.header)
		}
		if got := clientAddress(proxies)(r); got != c.want {
			t.Errorf("from %s, forwarded %q: %s, want %s", c.remote, c.header, got, c.want)
		}
	}
}
