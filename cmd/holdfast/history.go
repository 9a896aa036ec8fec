package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/evidence"
	"holdfast/guard"
	"holdfast/permit"
)

// A database that was brought back from a back-up, or a standby that took over too early, has
// forgotten the last closings: accounts that were frozen are open in it. So a node keeps the highest
// positions of the change feed that it has seen in a file beside the database, and refuses a
// database below them (guarantee, rule 15) until an operator says, on record, that it is to go on.

const historyFile = "positions.json"

// history is the file.
type history struct {
	Positions guard.Positions `json:"positions"`
}

func readHistory(state string) (h history, err error) {
	raw, err := os.ReadFile(filepath.Join(state, historyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read the highest positions: %w", err)
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("read the highest positions: %w", err)
	}
	return h, nil
}

// missing is how many closings the file has seen that are not in the database.
func (h history) missing(head guard.Positions) int64 {
	var n int64
	for lane, seen := range h.Positions {
		n += max(0, seen-head[lane])
	}
	return n
}

func lostHistory(closings int64) error {
	return withHint(fmt.Errorf("this database has lost history: %d closings that this node has seen are not in it, so accounts that were frozen may be open in it", closings),
		"bring back a newer back-up; or start once with --accept-lost-history, which is recorded, and freeze again whom it concerns")
}

// next takes in the head of the feed, and says how many closings were lost. Then it stays as it was: a
// standby that was behind may have taken over, and the next start has to notice it.
func (h history) next(head guard.Positions) (history, int64) {
	if lost := h.missing(head); lost > 0 {
		return h, lost
	}
	return history{head}, 0
}

// checkHistory refuses a database that has lost history, or records that it is accepted.
func (h *house) checkHistory(ctx context.Context) error {
	known, err := readHistory(h.cfg.State)
	if err != nil {
		return err
	}
	head, err := h.guard.Head(ctx)
	if err != nil {
		return err
	}
	lost := known.missing(head)
	if lost > 0 && !h.cfg.AcceptLostHistory {
		return lostHistory(lost)
	}
	if lost > 0 {
		by := evidence.Actor{Kind: evidence.Operator, ID: "--accept-lost-history"}
		err := h.door.Do(ctx, by, permit.Act{Name: permit.AcceptHistory, Account: evidence.Platform}, func(tx *permit.Tx) error {
			tx.Note("closings_lost", lost)
			return nil
		})
		if err != nil {
			return err
		}
		h.log.Warn("a database that has lost history was accepted", "closings_lost", lost)
	}
	return replaceFile(filepath.Join(h.cfg.State, historyFile), history{head})
}

// remember keeps the files beside the database fresh until ctx ends. A database that falls back
// while the server runs is an error, with which the server ends: it must answer nothing more.
func (h *house) remember(ctx context.Context) error {
	last, err := readHistory(h.cfg.State)
	if err != nil {
		return err
	}
	every := time.NewTicker(time.Second)
	defer every.Stop()
	var kept time.Time
	for {
		changed := h.guard.Changed()
		if head, err := h.guard.Head(ctx); err == nil && head != last.Positions {
			next, lost := last.next(head)
			if lost > 0 {
				return lostHistory(lost)
			}
			last = next
			if err := replaceFile(filepath.Join(h.cfg.State, historyFile), last); err != nil {
				h.log.Error("the highest positions were not kept", "error", err)
			}
		}
		if now := time.Now(); now.Sub(kept) > time.Minute {
			kept = now
			if err := h.clock.keep(h.cfg.State); err != nil {
				h.log.Error("the clock's file was not kept", "error", err)
			}
		}
		select {
		case <-changed:
		case <-every.C:
		case <-ctx.Done():
			if err := h.clock.keep(h.cfg.State); err != nil {
				h.log.Error("the clock's file was not kept", "error", err)
			}
			return nil
		}
	}
}
