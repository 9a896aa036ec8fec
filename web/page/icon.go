package page

import (
	"embed"
	"fmt"
	"html/template"
	"path"
	"strings"
)

// The icons are Lucide's (icons/LICENSE), kept as they are. They always stand beside words,
// so they are hidden from screen readers.
//
//go:embed icons/*.svg
var iconFiles embed.FS

var icons = map[string]template.HTML{}

func init() {
	entries, err := iconFiles.ReadDir("icons")
	if err != nil {
		return // the folder is part of the binary; an icon that is not there fails when it is asked for
	}
	for _, e := range entries {
		svg, err := iconFiles.ReadFile(path.Join("icons", e.Name()))
		if err != nil {
			continue
		}
		name := strings.TrimSuffix(e.Name(), ".svg")
		icons[name] = template.HTML(strings.Replace(strings.ReplaceAll(string(svg), "\n", ""), "<svg ", `<svg class="icon icon--`+name+`" aria-hidden="true" focusable="false" `, 1))
	}
}

func icon(name string) (template.HTML, error) {
	if name == "" {
		return "", nil
	}
	svg, ok := icons[name]
	if !ok {
		return "", fmt.Errorf("no icon %q", name)
	}
	return svg, nil
}

// brandMark is a cleat, the fitting to which a rope is made fast.
const brandMark template.HTML = `<svg viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="8" fill="currentColor"/><path class="mark" transform="translate(0 -1.4)" d="M5.5 11.2c2.6 2.2 5.9 2.9 10.5 2.9s7.9-.7 10.5-2.9M12 14v8M20 14v8M8.5 24.5h15" fill="none" stroke-width="3" stroke-linecap="round"/></svg>`
