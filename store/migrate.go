package store

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed schema/*.sql
var schema embed.FS

// migrate applies what is missing of our schema and of the job queue's own.
func (db *DB) migrate(ctx context.Context) error {
	s := db.shared
	dialect := goose.DialectPostgres
	if s.engine == SQLite {
		dialect = goose.DialectSQLite3
	}
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, s.write, rendered{files, s.engine}, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	jobs, err := rivermigrate.New(s.jobs, nil)
	if err != nil {
		return err
	}
	_, err = jobs.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// rendered shows migration files, which are written in PostgreSQL's words, as the engine reads
// them.
type rendered struct {
	fs.FS
	engine Engine
}

// Open returns the file as the engine reads it.
func (r rendered) Open(name string) (fs.File, error) {
	if !strings.HasSuffix(name, ".sql") {
		return r.FS.Open(name)
	}
	text, err := fs.ReadFile(r.FS, name)
	if err != nil {
		return nil, err
	}
	return &renderedFile{Reader: bytes.NewReader([]byte(Render(string(text), r.engine))), name: name}, nil
}

// ReadDir lists the files.
func (r rendered) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.FS, name) }

type renderedFile struct {
	*bytes.Reader
	name string
}

func (f *renderedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *renderedFile) Close() error               { return nil }
func (f *renderedFile) Name() string               { return f.name }
func (f *renderedFile) Mode() fs.FileMode          { return 0o444 }
func (f *renderedFile) ModTime() time.Time         { return time.Time{} }
func (f *renderedFile) IsDir() bool                { return false }
func (f *renderedFile) Sys() any                   { return nil }

var (
	onlyBlock  = regexp.MustCompile(`(?ms)^-- only: (sqlite|postgres)\n(.*?)^-- end\n`)
	tableEnd   = regexp.MustCompile(`(?m)^\);`)
	columnWord = regexp.MustCompile(`\b(BIGINT|BYTEA|BOOLEAN|TEXT)\b`)
)

// Render turns a migration in PostgreSQL's words into the engine's. SQLite calls the types
// otherwise and checks them only in STRICT tables; PostgreSQL compares text by language unless
// told to compare bytes. "-- only: sqlite|postgres" up to "-- end" keeps a block for one engine.
func Render(text string, engine Engine) string {
	text = onlyBlock.ReplaceAllStringFunc(text, func(block string) string {
		m := onlyBlock.FindStringSubmatch(block)
		if Engine(m[1]) == engine {
			return m[2]
		}
		return ""
	})
	if engine == SQLite {
		text = columnWord.ReplaceAllStringFunc(text, func(word string) string {
			return map[string]string{"BIGINT": "INTEGER", "BYTEA": "BLOB", "BOOLEAN": "INTEGER", "TEXT": "TEXT"}[word]
		})
		return tableEnd.ReplaceAllString(text, ") STRICT;")
	}
	return columnWord.ReplaceAllStringFunc(text, func(word string) string {
		if word == "TEXT" {
			return fmt.Sprintf("TEXT COLLATE %q", "C")
		}
		return word
	})
}
