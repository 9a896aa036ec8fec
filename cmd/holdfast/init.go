package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"holdfast/store"
)

// initCmd makes the key file. It is a verb of its own, and serve never does it by itself: a server
// that quietly makes new keys beside an old database has lost every sealed secret.
type initCmd struct {
	Dir string `name:"dir" default:"holdfast-state" env:"HOLDFAST_STATE" placeholder:"DIR" help:"State folder; made if it is not there."`
}

// Run makes DIR/keys.json and says what to back up.
func (i initCmd) Run(c console) error {
	path, err := makeKeys(i.Dir)
	if errors.Is(err, fs.ErrExist) {
		return withHint(fmt.Errorf("%s is there already; it is never overwritten", path), "to begin anew, choose another --dir")
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, path)
	c.say(`Made the key file, readable by you only.

Back up these two, in two different places:
  1. %s
     Without it every API secret, DKIM key and evidence text in the database is unreadable, for good.
  2. the database (%s, or your PostgreSQL)
     Together they are everything. Whoever has both can read it all, so do not keep them side by side.

Next: holdfast serve --state %s --mail-host HOST --mail-from "Holdfast <security@example.com>"`,
		path, filepath.Join(i.Dir, sqliteFile), i.Dir)
	return nil
}

// makeKeys makes the state folder and its key file, and returns the file's path.
func makeKeys(dir string) (string, error) {
	path := filepath.Join(dir, keysFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return path, fmt.Errorf("make the state folder: %w", err)
	}
	keys, err := store.NewKeyset()
	if err != nil {
		return path, err
	}
	return path, keys.Create(path)
}
