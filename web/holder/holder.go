// Package holder is the pages of the person to whom an account belongs.
package holder

import (
	"embed"
	"io/fs"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pagesFS is the templates, one for each page.
func pagesFS() fs.FS {
	sub, err := fs.Sub(pageFiles, "pages")
	if err != nil {
		return pageFiles // cannot be: the folder is part of the binary, and a missing page fails at its first use
	}
	return sub
}
