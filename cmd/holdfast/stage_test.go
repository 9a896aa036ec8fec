package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDemonstrationLeavesARealServersStateAlone: whoever has HOLDFAST_STATE set for a server and
// types "holdfast run" must not lose the database.
func TestTheDemonstrationLeavesARealServersStateAlone(t *testing.T) {
	for _, theirs := range []string{sqliteFile, keysFile} {
		cfg := defaults()
		cfg.State, cfg.Pages, cfg.API = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
		must(t, os.WriteFile(filepath.Join(cfg.State, theirs), []byte("real"), 0o600))
		_, err := openStage(t.Context(), cfg, "127.0.0.1:0", slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), theirs) {
			t.Errorf("%s: %v", theirs, err)
		}
		after, err := os.ReadDir(cfg.State)
		must(t, err)
		if len(after) != 1 {
			t.Errorf("%s: the folder holds %v", theirs, after)
		}
		if raw, err := os.ReadFile(filepath.Join(cfg.State, theirs)); err != nil || string(raw) != "real" {
			t.Errorf("%s: %q %v", theirs, raw, err)
		}
	}
}
