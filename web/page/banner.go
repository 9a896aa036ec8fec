package page

// Banner is the state on top: what is blocked, until when, why, what lifts it. The same
// words are in mails and in the API.
type Banner struct {
	Tone  Tone
	Title string
	Text  []string
	Facts Facts
	// Acts are what can be done about it.
	Acts Actions
	// Alert makes it spoken at once by a screen reader.
	Alert bool
}

func (Banner) part() string { return "banner" }

// Icon is the shape that says the same as the colour.
func (b Banner) Icon() string { return b.Tone.icon() }

// Facts are terms with values.
type Facts []Fact

// Fact is a term with a value.
type Fact struct {
	Term  string
	Value Part
}

func (Facts) part() string { return "facts" }

// Pairs are short terms with short values, such as an asset and its balance: always on one line,
// the values aligned at the end.
type Pairs []Fact

func (Pairs) part() string { return "pairs" }

// Card groups what belongs to one thing: a device, a key.
type Card struct {
	Title string
	Icon  string
	Tag   Part
	Text  string
	Facts Facts
	Acts  Actions
}

func (Card) part() string { return "card" }

// Cards is a list of cards.
type Cards []Card

func (Cards) part() string { return "cards" }

// LinkRows are rows that lead somewhere.
type LinkRows []LinkRow

// LinkRow leads to Href; Text is its second line.
type LinkRow struct{ Href, Icon, Label, Text string }

func (LinkRows) part() string { return "linkrows" }

// Tag is a state in one or two words, with its icon.
type Tag struct {
	Tone Tone
	Icon string
	Text string
}

func (Tag) part() string { return "tag" }

// Empty says that there is nothing, why that is fine, and what could be done.
type Empty struct {
	Icon, Title, Text string
	Acts              Actions
}

func (Empty) part() string { return "empty" }

// CodeSheet shows a secret once, made to be printed.
type CodeSheet struct {
	Title string
	// Groups are the parts of the code, kept together when lines break.
	Groups []string
	// Long is for keys, which break anywhere.
	Long  bool
	Facts Facts
	// Steps say how it is used, numbered.
	Steps []string
	// Copy offers a button that copies the whole.
	Copy bool
}

func (CodeSheet) part() string { return "codesheet" }

// Whole is the code as it is copied.
func (c CodeSheet) Whole() string {
	s := ""
	for i, g := range c.Groups {
		if i > 0 {
			s += "-"
		}
		s += g
	}
	return s
}

// Steps shows how far a guided flow has come.
type Steps struct {
	// Name says what the steps lead to, for those who do not see them.
	Name string
	List []Step
}

// Step is "done", "now" or still to come ("").
type Step struct{ Label, State string }

func (Steps) part() string { return "steps" }

// Open is how many steps are not done.
func (s Steps) Open() int {
	n := 0
	for _, step := range s.List {
		if step.State != "done" {
			n++
		}
	}
	return n
}

// Now is the number of the step that is shown, counted from 1; 0 when all are done.
func (s Steps) Now() int {
	for i, step := range s.List {
		if step.State == "now" {
			return i + 1
		}
	}
	return 0
}
