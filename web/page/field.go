package page

import "unicode/utf8"

// Field is one line (or, with Rows, several) that a person fills in.
type Field struct {
	Name, Label, Hint, Value string
	// Error says what to mend, in words that help: "That is 9 characters. Use at least 12."
	Error string
	// Type is the input type; "text" when empty.
	Type string
	// Autocomplete tells the browser and its password manager what belongs here.
	Autocomplete string
	Inputmode    string
	Placeholder  string
	Required     bool
	// Code is for codes typed from paper: monospace, capitals, no correction.
	Code bool
	// Rows makes it a text area.
	Rows int
	// Max is the most characters that will be taken; 0 means no limit here.
	Max int
	// Rules are shown under a new password and marked while it is typed.
	Rules []Rule
	// Focus puts the cursor here when the page opens.
	Focus bool
}

func (Field) part() string { return "field" }

// ID is the element's id.
func (f Field) ID() string { return "f-" + f.Name }

// Kind is the input type.
func (f Field) Kind() string {
	if f.Type == "" {
		return "text"
	}
	return f.Type
}

// Secret reports whether what is typed is hidden until revealed.
func (f Field) Secret() bool { return f.Type == "password" }

// Described lists the ids that describe the field, for aria-describedby.
func (f Field) Described() string {
	s := ""
	if f.Hint != "" {
		s += " " + f.ID() + "-hint"
	}
	if f.Error != "" {
		s += " " + f.ID() + "-error"
	}
	if len(f.Rules) > 0 {
		s += " " + f.ID() + "-rules"
	}
	if s == "" {
		return ""
	}
	return s[1:]
}

// Rule is one rule of a password: a test that the page's script knows by name, and words.
type Rule struct{ Test, Text string }

// PasswordRules are the rules as they are shown; the room account decides.
var PasswordRules = []Rule{
	{"length", "At least 12 characters"},
	{"upper", "A capital letter"},
	{"lower", "A small letter"},
	{"digit", "A number"},
	{"symbol", "A symbol, such as ! or ?"},
}

// Choice is a question with fixed answers.
type Choice struct {
	Name, Legend, Hint, Error string
	// Many allows several answers (check boxes).
	Many    bool
	Options []Option
}

// Option is one answer.
type Option struct {
	Value, Label, Hint string
	Chosen             bool
}

func (Choice) part() string { return "choice" }

// ID is the fieldset's id.
func (c Choice) ID() string { return "f-" + c.Name }

// Described lists the ids that describe the choice.
func (c Choice) Described() string {
	s := ""
	if c.Hint != "" {
		s += " " + c.ID() + "-hint"
	}
	if c.Error != "" {
		s += " " + c.ID() + "-error"
	}
	if s == "" {
		return ""
	}
	return s[1:]
}

// Summary lists at the top of a page what must be mended, each with a link to its field.
type Summary []Mend

// Mend is one thing to mend; Field is the id of the element, and may be empty.
type Mend struct{ Field, Say string }

func (Summary) part() string { return "summary" }

// Summarize collects the errors of fields and choices in the order given.
func Summarize(inputs ...Part) Summary {
	var s Summary
	for _, in := range inputs {
		switch in := in.(type) {
		case Field:
			if in.Error != "" {
				s = append(s, Mend{in.ID(), in.Error})
			}
		case Choice:
			if in.Error != "" {
				s = append(s, Mend{in.ID(), in.Error})
			}
		}
	}
	return s
}

// Clip shortens text that is shown back, by characters, so that a hostile length cannot
// push the page apart.
func Clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	r := []rune(s)
	return string(r[:most-1]) + "…"
}
