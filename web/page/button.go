package page

// Button is an act (in a form) or, with Href, a link that looks like one. At least 44 px
// high in every form. The methods return a changed copy, so that a template can write
// {{part ((button "Delete").Danger)}}.
type Button struct {
	Label string
	// Kind is "", "quiet", "danger", "freeze" or "frozen".
	Kind string
	Icon string
	Href string
	// Name and Value are sent with the form when this button was pressed.
	Name, Value string
	// Opens is the id of a Dialog that this button opens.
	Opens string
	// About is said to those who do not see the page, after the label: which thing it acts on.
	About string
	Wide  bool
	Small bool
	// Print makes it print the page; it appears only where scripts run.
	Print bool
	// Back makes it go one page back; it appears only where scripts run.
	Back bool
}

func (Button) part() string { return "button" }

// Quiet is for the act that is possible but not the next step.
func (b Button) Quiet() Button { b.Kind = "quiet"; return b }

// Danger is for taking something away, and for the act that stops danger.
func (b Button) Danger() Button { b.Kind = "danger"; return b }

// Freezes is the big red button.
func (b Button) Freezes() Button { b.Kind, b.Icon = "danger button--freeze", "snowflake"; return b }

// With sets the icon.
func (b Button) With(icon string) Button { b.Icon = icon; return b }

// To makes it a link.
func (b Button) To(href string) Button { b.Href = href; return b }

// Named sends name=value with the form.
func (b Button) Named(name, value string) Button { b.Name, b.Value = name, value; return b }

// Fills makes it as wide as its column.
func (b Button) Fills() Button { b.Wide = true; return b }

// Smaller is for acts on one row of many; still 44 px high.
func (b Button) Smaller() Button { b.Small = true; return b }

// On says which thing it acts on.
func (b Button) On(what string) Button { b.About = what; return b }

// Form is one act with its button: a form of its own, for rows and banners.
type Form struct {
	// ID lets a button elsewhere on the page press it; may be empty.
	ID     string
	Action string
	Hidden []Hidden
	Button Button
	// Press marks an act that must not be lost silently: while offline the page says that
	// it has not been sent, keeps it, and sends it when the connection is back.
	Press bool
}

func (Form) part() string { return "form" }

// Hidden is a value sent along.
type Hidden struct{ Name, Value string }

// Actions is a row of buttons and one-act forms.
type Actions []Part

func (Actions) part() string { return "actions" }

// Dialog asks once more before an act. It opens as a popover without a script.
type Dialog struct {
	ID, Title, Text string
	Form            Form
	// Cancel is the label of the button that closes it.
	Cancel string
}

func (Dialog) part() string { return "dialog" }
