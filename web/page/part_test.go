package page

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3) {{.}}`

// components are one of each part; their texts are replaced by hostile ones.
var components = []Part{
	Button{}, Button{Href: "x"}, Button{Opens: "x"}, Button{Print: true}, Form{}, Dialog{}, Field{}, Field{Rows: 2}, Field{Type: "password", Rules: PasswordRules},
	Choice{Options: []Option{{}}}, Summary{{}}, Banner{Text: []string{""}, Facts: Facts{{Value: Text("")}}}, Receipts{List: []Receipt{{State: Closed}, {State: Waiting}, {State: Left}}}, Receipts{Folded: true, List: []Receipt{{}}},
	Timeline{{Lines: []Part{Text("")}}}, Table{Columns: []Column{{}, {}}, Rows: []Row{{Text(""), Text("")}}}, Cards{{Tag: Tag{}}}, LinkRows{{}}, CodeSheet{Groups: []string{""}, Steps: []string{""}, Copy: true},
	Empty{}, Steps{List: []Step{{}}}, Pairs{{Value: Text("")}}, Phrase{Text("")}, Lines{Text("")}, Link{}, Amount{}, Address(""), Device{}, Moment{},
}

// poison sets every text of a value to s, except where it names one of our own icons or styles.
func poison(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		switch v.Type() {
		case reflect.TypeFor[Tone](), reflect.TypeFor[ReceiptState]():
		default:
			v.SetString(s)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			switch name := v.Type().Field(i).Name; {
			case name == "Icon", v.Type() == reflect.TypeFor[Field]() && name == "Type":
			default:
				poison(v.Field(i), s)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), s)
		}
	case reflect.Interface:
		if !v.IsNil() {
			inner := reflect.New(v.Elem().Type()).Elem()
			inner.Set(v.Elem())
			poison(inner, s)
			v.Set(inner)
		}
	}
}

func TestHostileTextIsEscapedInEveryComponent(t *testing.T) {
	for _, c := range components {
		v := reflect.New(reflect.TypeOf(c)).Elem()
		v.Set(reflect.ValueOf(c))
		poison(v, hostile)
		shown, err := show(v.Interface().(Part))
		if err != nil {
			t.Errorf("%T: %v", c, err)
			continue
		}
		html := string(shown)
		if strings.Contains(html, "<script") || strings.Contains(html, "<img") || strings.Contains(html, `"'>`) {
			t.Errorf("%T lets text become markup: %s", c, html)
		}
		for _, attribute := range []string{`href="javascript`, `action="javascript`, `href="&#34;&#39;&gt;&lt;script`} {
			if strings.Contains(html, attribute) {
				t.Errorf("%T: %s", c, html)
			}
		}
	}
}

func TestLinkCannotRunAScript(t *testing.T) {
	for _, p := range []Part{Button{Label: "x", Href: "javascript:alert(1)"}, Link{Href: "javascript:alert(1)"}, LinkRows{{Href: "javascript:alert(1)"}}, Form{Action: "javascript:alert(1)"}} {
		shown, err := show(p)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(shown), "javascript:") {
			t.Errorf("%T: %s", p, shown)
		}
	}
}

func TestAmountIsGrouped(t *testing.T) {
	for _, c := range []struct {
		number string
		signed bool
		want   string
	}{
		{"0", false, "0"}, {"1200", false, "1,200"}, {"-1234567.891", false, "\u22121,234,567.891"}, {"0.05", true, "+0.05"}, {"999", false, "999"},
		{"1000000.000000000000000001", false, "1,000,000.000000000000000001"}, {"1e9", false, "1e9"}, {"", false, ""}, {"-", false, "-"}, {"NaN", true, "NaN"},
	} {
		if got := (Amount{Number: c.number, Signed: c.signed}).Grouped(); got != c.want {
			t.Errorf("%q: %q, want %q", c.number, got, c.want)
		}
	}
}

func TestAddressKeepsEveryCharacter(t *testing.T) {
	for _, a := range []Address{"", "short", "bc1q9x3hk7wq5t2m0v4c8z6r1yfj2l5n7p3s9d4g6a8u0e2k4h7mtwaq", "ÄÖÜäöüßẞéèêçÄÖÜäöü"} {
		if got := a.First() + a.Middle() + a.Last(); got != string(a) {
			t.Errorf("%q became %q", a, got)
		}
	}
	if a := Address("bc1q9x3hk7wq5t2m0v4c8z6r1yfj2l5n7p3s9d4g6a8u0e2k4h7mtwaq"); a.First() != "bc1q9x" || a.Last() != "7mtwaq" {
		t.Errorf("ends %q %q", a.First(), a.Last())
	}
}

func TestMomentSaysItsZone(t *testing.T) {
	lyon := time.FixedZone("CEST", 2*3600)
	at := time.Date(2026, 5, 3, 4, 14, 7, 0, lyon)
	shown, err := show(Moment{At: at})
	if err != nil {
		t.Fatal(err)
	}
	if want := `<time datetime="2026-05-03T02:14:07Z" data-time="">3 May 2026, 02:14 UTC</time>`; string(shown) != want {
		t.Errorf("%s", shown)
	}
	if shown, _ := show(Moment{Never: "Not yet"}); string(shown) != "Not yet" {
		t.Errorf("%s", shown)
	}
}

func TestReceiptsKeepHoldfastAndOthersApart(t *testing.T) {
	at := time.Date(2026, 5, 3, 2, 14, 7, 0, time.UTC)
	r := Receipts{List: []Receipt{{State: Closed, At: at}, {State: Closed, At: at}, {Enforcer: "Harbour", State: Closed, At: at}, {Enforcer: "Harbour", State: Waiting}}}
	if got := strings.Join(r.Lines(), "|"); got != "Holdfast has closed 2 of 2|Harbour has confirmed 1 of 2" {
		t.Error(got)
	}
	if r.Contained() || r.Done() != 3 {
		t.Errorf("contained %v done %d", r.Contained(), r.Done())
	}
	if (Receipts{}).Contained() {
		t.Error("no receipt at all is not containment")
	}
}
