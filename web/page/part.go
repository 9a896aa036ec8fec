package page

import (
	"bytes"
	"fmt"
	"html/template"
)

// Part is a component or a fact: something that knows which template shows it. Parts nest
// (a banner holds buttons, a table cell holds an amount), and every text in them is escaped
// where it lands.
type Part interface{ part() string }

// parts holds the components' templates. It is filled at start and only read afterwards.
var parts = template.New("parts")

// functions are what templates may call: showing a part, making a button, an icon.
var functions = template.FuncMap{
	"part":   show,
	"icon":   icon,
	"button": func(label string) Button { return Button{Label: label} },
	"asset":  func(name string) string { return names.url(name) },
	"brand":  func() template.HTML { return brandMark },
}

func init() {
	template.Must(parts.Funcs(functions).ParseFS(ownTemplates, "parts/*.html"))
}

// show renders a part. What it returns is safe as HTML because it was made by html/template
// in HTML context, with every value escaped there.
func show(p Part) (template.HTML, error) {
	if p == nil {
		return "", nil
	}
	var b bytes.Buffer
	if err := parts.ExecuteTemplate(&b, p.part(), p); err != nil {
		return "", fmt.Errorf("show %s: %w", p.part(), err)
	}
	return template.HTML(b.String()), nil
}

// Tone says what a colour means. Never told by colour alone: each tone has an icon too.
type Tone string

// The tones, by their style name.
const (
	Plain  Tone = ""
	Safe   Tone = "safe"
	Wait   Tone = "wait"
	Danger Tone = "danger"
)

func (t Tone) icon() string {
	switch t {
	case Safe:
		return "shield-check"
	case Wait:
		return "hourglass"
	case Danger:
		return "octagon-alert"
	}
	return "info"
}
