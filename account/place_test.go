package account

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"holdfast/store"
	"holdfast/store/storetest"
)

// testPlaces writes a small GeoIP file of documentation addresses.
func testPlaces(t testing.TB) *Places {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	must(t, err)
	for network, place := range map[string][2]string{"192.0.2.0/24": {"Lyon", "FR"}, "198.51.100.0/24": {"", "FR"}, "203.0.113.0/24": {"Porto", "PT"}} {
		_, n, err := net.ParseCIDR(network)
		must(t, err)
		record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(place[1])}}
		if place[0] != "" {
			record["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(place[0])}}
		}
		must(t, tree.Insert(n, record))
	}
	path := filepath.Join(t.TempDir(), "places.mmdb")
	file, err := os.Create(path)
	must(t, err)
	_, err = tree.WriteTo(file)
	must(t, err)
	must(t, file.Close())
	places, err := OpenPlaces(path)
	must(t, err)
	t.Cleanup(func() { must(t, places.Close()) })
	return places
}

func TestPlaceOfAnAddress(t *testing.T) {
	places := testPlaces(t)
	for address, want := range map[string]string{"192.0.2.1": "Lyon (FR)", "::ffff:192.0.2.1": "Lyon (FR)", "198.51.100.1": "FR", "10.0.0.1": "", "": "", "x": ""} {
		if got := places.Name(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	var none *Places
	if none.Name("192.0.2.1") != "" || none.Close() != nil {
		t.Error("no file knows a place")
	}
	if _, err := OpenPlaces(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing file opens")
	}
}

func TestARememberedDeviceInANewPlaceIsToldByMail(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRig(t, db, Config{Places: testPlaces(t)})
		r.from = r.From("192.0.2.7", firefox)
		v := r.join(mail)
		cookie, err := r.Remember(t.Context(), v.Session.Actor(r.from), v.Account)
		must(t, err)
		enter := func(address string) {
			t.Helper()
			s, err := r.SignIn(t.Context(), r.From(address, firefox), Entry{Mail: mail, Password: goodPassword, Remembered: cookie.Reveal()})
			must(t, err)
			if s.Device != v.Session.Device {
				t.Error("the device was not recognised")
			}
		}
		told := func() (n int) {
			must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM notice WHERE account_id = $1 AND kind = 'new_sign_in'`, string(v.Account)).Scan(&n))
			return n
		}
		enter("192.0.2.8")
		if told() != 0 {
			t.Error("a familiar place was told")
		}
		enter("203.0.113.1")
		if m := r.box.take(t, mail, "New sign-in"); !strings.Contains(m.Text, "Porto (PT)") || !strings.Contains(m.Text, "Firefox on Windows") {
			t.Error(m.Text)
		}
		enter("203.0.113.2")
		if told() != 1 {
			t.Errorf("told %d times", told())
		}
		devices, err := r.Devices(t.Context(), v.Account, "")
		if err != nil || len(devices) != 1 || devices[0].Place != "Porto (PT)" {
			t.Errorf("%+v %v", devices, err)
		}
	})
}

func TestDescribe(t *testing.T) {
	for agent, want := range map[string]string{
		firefox: "Firefox on Windows", chrome: "Chrome on Linux", "": "Unknown device",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1": "Safari on iOS",
	} {
		if name, _, _ := describe(agent); name != want {
			t.Errorf("%q: %q, want %q", agent, name, want)
		}
	}
	if name, _, _ := describe(strings.Repeat("x\u202e", 500)); len([]rune(name)) > 140 || strings.ContainsRune(name, '\u202e') {
		t.Errorf("%q", name)
	}
}
