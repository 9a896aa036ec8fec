package account

import (
	"context"
	"fmt"

	"holdfast/notice"
	"holdfast/permit"
	"holdfast/store"
)

// EndedByFreeze is session.end_reason of a session that a freeze ended.
const EndedByFreeze = "freeze"

// Suspended is what a freeze took out of use.
type Suspended struct{ Sessions, Devices, Keys, Credentials int64 }

// SuspendForFreeze ends every session but keep, which lives on in protective mode and in the
// standing's epoch, which the caller has already raised. Remembered devices, API keys and the
// platform's own credentials stay as they are: the epoch alone suspends them, and they are only
// counted. A session named by keep MUST have been looked at by the door in this transaction.
func SuspendForFreeze(ctx context.Context, tx *permit.Tx, keep string) (Suspended, error) {
	var s Suspended
	id, now, before := string(tx.Standing.Account), store.Micros(tx.Now()), tx.Standing.Epoch-1
	err := tx.QueryRow(ctx, `SELECT
			(SELECT count(*) FROM session WHERE account_id = $1 AND session_id <> $4 AND ended_at = 0 AND expires_at > $2 AND epoch = $3),
			(SELECT count(*) FROM device WHERE account_id = $1 AND removed_at = 0 AND epoch = $3 AND length(remembered_hash) > 0),
			(SELECT count(*) FROM api_key WHERE account_id = $1 AND deleted_at = 0 AND epoch = $3 AND (expires_at = 0 OR expires_at > $2)),
			(SELECT count(*) FROM credential WHERE account_id = $1 AND ended_at = 0 AND epoch = $3 AND (expires_at = 0 OR expires_at > $2))`,
		id, now, before, keep).Scan(&s.Sessions, &s.Devices, &s.Keys, &s.Credentials)
	if err != nil {
		return Suspended{}, fmt.Errorf("count what the freeze suspends: %w", err)
	}
	// The freeze itself is announced and covers each of them.
	if _, err := tx.Exec(ctx, `UPDATE session SET ended_at = $3, end_reason = 'freeze' WHERE account_id = $1 AND ended_at = 0 AND session_id <> $2`, id, keep, now); err != nil {
		return Suspended{}, fmt.Errorf("end sessions: %w", err)
	}
	if keep == "" {
		return s, nil
	}
	if _, err := tx.Exec(ctx, `UPDATE session SET mode = 'protective', epoch = $3 WHERE account_id = $1 AND session_id = $2 AND kind = 'holder' AND ended_at = 0`,
		id, keep, tx.Standing.Epoch); err != nil {
		return Suspended{}, fmt.Errorf("keep the session that pressed: %w", err)
	}
	return s, nil
}

// EndWaiting ends what waits for somebody to press a link: an address that was to be confirmed and
// a password that was to be reset. While the account is frozen the door refuses the press; a restore
// MUST end what is left, or a thief who asked for the change before the freeze, or read a mail while
// it lasted, would finish it as soon as the account is open again.
func EndWaiting(ctx context.Context, tx *permit.Tx) error {
	if err := forgetWaiting(ctx, tx); err != nil {
		return err
	}
	_, err := notice.EndLinks(ctx, tx, tx.Standing.Account, notice.ResetPurpose)
	return err
}

// EndSessions ends every session of the account but except, platform sessions too, announces each
// and returns how many were live in the present epoch or the one before it.
func EndSessions(ctx context.Context, tx *permit.Tx, except string, reason string) (int64, error) {
	return endSessions(ctx, tx, reason, `AND session_id <> $4`, except)
}

// endSessions ends the sessions that also meet a condition on $4, with the platform sessions that
// they handed over.
func endSessions(ctx context.Context, tx *permit.Tx, reason, also, value string) (int64, error) {
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	rows, err := tx.Query(ctx, `UPDATE session SET ended_at = $2, end_reason = $3 WHERE account_id = $1 AND ended_at = 0 `+also+`
		RETURNING session_id, expires_at, epoch`, id, now, reason, value)
	if err != nil {
		return 0, fmt.Errorf("end sessions: %w", err)
	}
	defer rows.Close()
	var live int64
	for rows.Next() {
		var session string
		var expires, epoch int64
		if err := rows.Scan(&session, &expires, &epoch); err != nil {
			return 0, fmt.Errorf("end sessions: %w", err)
		}
		if expires > now && epoch >= tx.Standing.Epoch-1 {
			live++
			tx.Announce("session_ended", session)
		}
	}
	return live, rows.Err()
}
