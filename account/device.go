package account

import (
	"context"
	"fmt"
	"time"

	"github.com/mileusna/useragent"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Device is a browser or app from which the account was used.
type Device struct {
	ID string
	// Name is what people read: "Firefox on Windows".
	Name    string
	Browser string
	System  string
	// Address and Place are those of its latest use.
	Address string
	Place   string
	// FirstSeen and LastSeen are to the minute.
	FirstSeen time.Time
	LastSeen  time.Time
	// Remembered says that a sign-in from it causes no mail.
	Remembered bool
	// Sessions is how many live sessions it has; platform sessions count too.
	Sessions int64
	// This says that the session that asks is on it.
	This bool
}

// describe tells browser and system from a User-Agent. It is a hint for people and proves nothing.
func describe(agent string) (name, browser, system string) {
	ua := useragent.Parse(agent)
	browser, system = short(ua.Name), short(ua.OS)
	switch {
	case agent == "":
		name = "Unknown device"
	case browser != "" && system != "":
		name = browser + " on " + system
	case browser != "":
		name = browser
	default:
		name = short(agent)
	}
	return name, browser, system
}

func short(s string) string {
	runes := []rune(clean(s))
	if len(runes) > 60 {
		runes = append(runes[:59], '…')
	}
	return string(runes)
}

// newDevice writes a device that was not seen before.
func newDevice(ctx context.Context, tx *permit.Tx) (string, error) {
	id := store.NewID()
	name, browser, system := describe(tx.By.Agent)
	_, err := tx.Exec(ctx, `INSERT INTO device (account_id, device_id, name, browser, system, first_seen, remembered_hash, epoch, removed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`,
		string(tx.Standing.Account), id, name, browser, system, store.Micros(tx.Now()), []byte{}, tx.Standing.Epoch)
	if err != nil {
		return "", fmt.Errorf("keep device: %w", err)
	}
	return id, nil
}

// Devices returns the devices that have a live session or are remembered, the latest used first.
// session is the one that asks.
func (a *Accounts) Devices(ctx context.Context, id ID, session string) ([]Device, error) {
	rows, err := a.db.Query(ctx, `WITH live AS (
			SELECT s.session_id, s.device_id, s.place, CASE WHEN n.at IS NULL OR n.at < s.created_at THEN s.created_at ELSE n.at END AS used,
				COALESCE(n.address, s.address) AS address
			FROM session s JOIN standing st ON st.account_id = s.account_id
			LEFT JOIN seen n ON n.account_id = s.account_id AND n.kind = 'session' AND n.id = s.session_id
			WHERE s.account_id = $1 AND s.ended_at = 0 AND s.expires_at > $2 AND s.epoch = st.epoch
				AND (s.created_at > $3 OR n.at > $3)),
		latest AS (SELECT device_id, address, place, used, row_number() OVER (PARTITION BY device_id ORDER BY used DESC, session_id) AS place_in,
				count(*) OVER (PARTITION BY device_id) AS sessions FROM live)
		SELECT d.device_id, d.name, d.browser, d.system, d.first_seen, CAST(CASE WHEN length(d.remembered_hash) > 0 AND d.epoch = st.epoch THEN 1 ELSE 0 END AS BIGINT),
			COALESCE(l.address, ''), COALESCE(l.place, ''), COALESCE(l.used, d.first_seen), COALESCE(l.sessions, 0),
			CAST(CASE WHEN EXISTS (SELECT 1 FROM live t WHERE t.device_id = d.device_id AND t.session_id = $4) THEN 1 ELSE 0 END AS BIGINT)
		FROM device d JOIN standing st ON st.account_id = d.account_id
		LEFT JOIN latest l ON l.device_id = d.device_id AND l.place_in = 1
		WHERE d.account_id = $1 AND d.removed_at = 0 AND (l.device_id IS NOT NULL OR (length(d.remembered_hash) > 0 AND d.epoch = st.epoch))
		ORDER BY 11 DESC, 9 DESC, 1`,
		string(id), store.Micros(a.db.Now()), store.Micros(a.db.Now().Add(-a.cfg.Idle)), session)
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	defer rows.Close()
	var devices []Device
	for rows.Next() {
		var d Device
		var first, used, remembered, this int64
		if err := rows.Scan(&d.ID, &d.Name, &d.Browser, &d.System, &first, &remembered, &d.Address, &d.Place, &used, &d.Sessions, &this); err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		d.FirstSeen, d.LastSeen, d.Remembered, d.This = store.Time(first), store.Time(used), remembered != 0, this != 0
		devices = append(devices, d)
	}
	return devices, rows.Err()
}

// Remember lets the session's device sign in without causing a mail. It returns the secret for the
// device's cookie, which works for this account, until a freeze, a new password, or removal.
func (a *Accounts) Remember(ctx context.Context, by evidence.Actor, id ID) (Secret, error) {
	var token Secret
	err := a.do(ctx, by, permit.RememberDevice, id, func(tx *permit.Tx) error {
		var hash []byte
		var err error
		if token, hash, err = newToken(RememberToken, id); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `UPDATE device SET remembered_hash = $3, epoch = $4 WHERE account_id = $1 AND removed_at = 0
			AND device_id = (SELECT device_id FROM session WHERE account_id = $1 AND session_id = $2)`,
			string(id), by.Session, hash, tx.Standing.Epoch)
		if err == nil && n == 0 {
			err = errNoDevice()
		}
		return err
	})
	return token, err
}

func errNoDevice() error {
	return fault.New(fault.NotFound, "unknown_device", "This device is not on your list any more.")
}

// RemoveDevice ends every session on a device and forgets it. Removing a removed device succeeds
// and changes nothing. A session may remove its own device, and ends with it.
func (a *Accounts) RemoveDevice(ctx context.Context, by evidence.Actor, id ID, device string) error {
	return a.do(ctx, by, permit.RemoveDevice, id, func(tx *permit.Tx) error {
		var removed int64
		var name string
		if err := scanOne(tx.QueryRow(ctx, `SELECT removed_at, name FROM device WHERE account_id = $1 AND device_id = $2`, string(id), device), errNoDevice, &removed, &name); err != nil {
			return err
		}
		if removed != 0 {
			tx.Unchanged()
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE device SET removed_at = $3, remembered_hash = $4 WHERE account_id = $1 AND device_id = $2`,
			string(id), device, store.Micros(tx.Now()), []byte{}); err != nil {
			return fmt.Errorf("remove device: %w", err)
		}
		ended, err := endSessions(ctx, tx, "device removed", `AND device_id = $4`, device)
		tx.Note("device", name)
		tx.Note("device_id", device)
		tx.Note("sessions_ended", ended)
		return err
	})
}

// RemoveAllDevices ends every session and forgets every device; with keepThis all but the session
// and device that ask. It returns how many devices had a session or were remembered and are gone.
func (a *Accounts) RemoveAllDevices(ctx context.Context, by evidence.Actor, id ID, keepThis bool) (int64, error) {
	var removed int64
	err := a.do(ctx, by, permit.RemoveAllDevices, id, func(tx *permit.Tx) error {
		keepSession, keepDevice := "", ""
		if keepThis {
			keepSession = by.Session
			if err := scanOne(tx.QueryRow(ctx, `SELECT device_id FROM session WHERE account_id = $1 AND session_id = $2`, string(id), by.Session), errNoDevice, &keepDevice); err != nil {
				return err
			}
		}
		var err error
		removed, err = a.forgetDevices(ctx, tx, keepDevice)
		if err != nil {
			return err
		}
		ended, err := endSessions(ctx, tx, "all devices removed", `AND session_id <> $4`, keepSession)
		tx.Note("devices", removed)
		tx.Note("sessions_ended", ended)
		return err
	})
	return removed, err
}

// forgetDevices removes every device but keep, and returns how many of them were in use: had a live
// session or were remembered.
func (a *Accounts) forgetDevices(ctx context.Context, tx *permit.Tx, keep string) (int64, error) {
	id, now := string(tx.Standing.Account), store.Micros(tx.Now())
	var used int64
	err := tx.QueryRow(ctx, `SELECT count(*) FROM device d WHERE d.account_id = $1 AND d.device_id <> $2 AND d.removed_at = 0
			AND (length(d.remembered_hash) > 0 AND d.epoch = $3 OR EXISTS (SELECT 1 FROM session s
				LEFT JOIN seen n ON n.account_id = s.account_id AND n.kind = 'session' AND n.id = s.session_id
				WHERE s.account_id = d.account_id AND s.device_id = d.device_id AND s.ended_at = 0 AND s.expires_at > $4 AND s.epoch = $3
				AND (s.created_at > $5 OR n.at > $5)))`,
		id, keep, tx.Standing.Epoch, now, store.Micros(tx.Now().Add(-a.cfg.Idle))).Scan(&used)
	if err != nil {
		return 0, fmt.Errorf("count devices: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE device SET removed_at = $3, remembered_hash = $4 WHERE account_id = $1 AND device_id <> $2 AND removed_at = 0`,
		id, keep, now, []byte{}); err != nil {
		return 0, fmt.Errorf("forget devices: %w", err)
	}
	return used, nil
}
