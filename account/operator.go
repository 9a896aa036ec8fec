package account

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"holdfast/evidence"
	"holdfast/fault"
	"holdfast/permit"
	"holdfast/store"
)

// Operators who may restore are enrolled with a key each: two keys are two people. Who sets the
// server up enrols the first two at once. Every later one has to be enrolled by an operator and
// begins to count for restores after a wait, so that nobody enrols a second self and restores alone
// before the others have seen it.

const (
	// founders is how many operators count at once.
	founders = 2
	// operatorWait is how long a later operator waits before the key counts for restores, for
	// proposing as for approving: either half of a pair that is one person opens alone.
	operatorWait = 48 * time.Hour
)

// Operator is a person who runs the server, with a key of their own.
type Operator struct {
	Name    string
	Public  ed25519.PublicKey
	AddedAt time.Time
	AddedBy string
	// CountsFrom is when the key begins to count for restores.
	CountsFrom time.Time
}

// errOperatorKey answers for a name that nobody has and for a key that is not its own.
func errOperatorKey(name string) error {
	return fault.New(fault.Denied, "operator_key", fmt.Sprintf("This key is not the one that was enrolled for %.40q.", name))
}

func errOperatorExists() error {
	return fault.New(fault.Conflict, "operator_exists", "There is or was an operator of this name. Names are not used twice, so that old records stay clear.")
}

func errOperatorProof() error {
	return fault.New(fault.Denied, "operator_key_needed", "This opens something, so it has to be signed with an operator's key: two people are needed, and a name that anyone can type is nobody.")
}

// Proves reports whether the operator made the signature.
func (o Operator) Proves(signed, signature []byte) error {
	if len(o.Public) != ed25519.PublicKeySize || !ed25519.Verify(o.Public, signed, signature) {
		return errOperatorKey(o.Name)
	}
	return nil
}

// FindOperator returns the operator of that name whose key works.
func FindOperator(ctx context.Context, q store.Querier, name string) (Operator, error) {
	all, err := readOperators(ctx, q, `WHERE removed_at = 0 AND name = $1`, name)
	if err == nil && len(all) == 0 {
		err = errOperatorKey(name)
	}
	if err != nil {
		return Operator{}, err
	}
	return all[0], nil
}

// ListOperators returns the operators whose keys work, by name.
func ListOperators(ctx context.Context, q store.Querier) ([]Operator, error) {
	return readOperators(ctx, q, `WHERE removed_at = 0 ORDER BY name`)
}

func readOperators(ctx context.Context, q store.Querier, where string, args ...any) ([]Operator, error) {
	rows, err := q.Query(ctx, `SELECT name, public_key, added_at, added_by, approves_from FROM operator `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read operators: %w", err)
	}
	defer rows.Close()
	var all []Operator
	for rows.Next() {
		var o Operator
		var public []byte
		var added, from int64
		if err := rows.Scan(&o.Name, &public, &added, &o.AddedBy, &from); err != nil {
			return nil, fmt.Errorf("read operators: %w", err)
		}
		o.Public, o.AddedAt, o.CountsFrom = public, store.Time(added), store.Time(from)
		all = append(all, o)
	}
	return all, rows.Err()
}

// CountsForRestore refuses an operator who is not enrolled, was removed, or is still waiting. It is
// asked inside the transaction, of the one who proposes and of the one who approves.
func CountsForRestore(ctx context.Context, q Reader, name string) error {
	o, err := FindOperator(ctx, q, name)
	if err != nil {
		return err
	}
	if q.Now().Before(o.CountsFrom) {
		return fault.Until(fault.Denied, "new_operator",
			fmt.Sprintf("The operator %s was enrolled a short while ago and does not count for restores yet. Otherwise one person could enrol a second name and restore alone.", o.Name), o.CountsFrom)
	}
	return nil
}

// OperatorsNeedProof reports whether a new operator has to be enrolled by one who proves it.
func OperatorsNeedProof(ctx context.Context, q store.Querier) (bool, error) {
	var ever int64
	if err := q.QueryRow(ctx, `SELECT count(*) FROM operator`).Scan(&ever); err != nil {
		return false, fmt.Errorf("count operators: %w", err)
	}
	return ever >= founders, nil
}

// CheckOperator refuses a name or key that cannot be enrolled.
func CheckOperator(name string, public []byte) error {
	if name == "" || len(name) > 40 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return fault.New(fault.Invalid, "operator_name", "An operator's name has 1 to 40 letters, digits, dots and dashes.")
	}
	if len(public) != ed25519.PublicKeySize {
		return fault.New(fault.Invalid, "public_key", "That is not an Ed25519 public key.")
	}
	return nil
}

// AddOperator enrols an operator. proven says that by has signed with an enrolled key, which every
// operator after the first two needs.
func AddOperator(ctx context.Context, door *permit.Door, by evidence.Actor, proven bool, name string, public []byte) (Operator, error) {
	if err := CheckOperator(name, public); err != nil {
		return Operator{}, err
	}
	o := Operator{Name: name, Public: public, AddedBy: by.ID}
	err := door.Do(ctx, by, permit.Act{Name: permit.AddOperator, Account: evidence.Platform}, func(tx *permit.Tx) error {
		later, err := OperatorsNeedProof(ctx, tx)
		if err != nil {
			return err
		}
		o.AddedAt, o.CountsFrom = tx.Now(), tx.Now()
		if later {
			if !proven {
				return errOperatorProof()
			}
			if _, err := FindOperator(ctx, tx, by.ID); err != nil {
				return err // removed since the command was signed
			}
			o.CountsFrom = tx.Now().Add(operatorWait)
		}
		var same int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM operator WHERE public_key = $1`, public).Scan(&same); err != nil {
			return fmt.Errorf("look for the key: %w", err)
		}
		if same > 0 {
			return fault.New(fault.Conflict, "operator_key_exists", "This key is or was enrolled under another name. Two names need two keys, or they are not two people.")
		}
		// "Alice" beside "alice" would be read as one person in every record.
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM operator WHERE lower(name) = lower($1)`, name).Scan(&same); err != nil {
			return fmt.Errorf("look for the name: %w", err)
		}
		if same > 0 {
			return errOperatorExists()
		}
		n, err := tx.Exec(ctx, `INSERT INTO operator (name, public_key, added_at, added_by, approves_from, removed_at) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (name) DO NOTHING`,
			name, public, store.Micros(o.AddedAt), by.ID, store.Micros(o.CountsFrom))
		if err != nil {
			return fmt.Errorf("enrol operator: %w", err)
		}
		if n == 0 {
			return errOperatorExists()
		}
		tx.Note("operator", name)
		tx.Note("counts_from", o.CountsFrom)
		return nil
	})
	return o, err
}

// RemoveOperator ends an operator's key. by must be an operator whose key works.
func RemoveOperator(ctx context.Context, door *permit.Door, by evidence.Actor, name string) error {
	return door.Do(ctx, by, permit.Act{Name: permit.RemoveOperator, Account: evidence.Platform}, func(tx *permit.Tx) error {
		if _, err := FindOperator(ctx, tx, by.ID); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `UPDATE operator SET removed_at = $2 WHERE name = $1 AND removed_at = 0`, name, store.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("remove operator: %w", err)
		}
		if n == 0 {
			return fault.New(fault.NotFound, "unknown_operator", "There is no such operator.")
		}
		tx.Note("operator", name)
		return nil
	})
}
