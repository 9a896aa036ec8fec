package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/fault"
)

func TestCauseIsNeverSaid(t *testing.T) {
	secret := "relation \"standing\" of holder@example.test"
	for _, err := range []error{
		errors.New(secret),
		fault.Wrap(fault.Denied, "frozen", "Your account is frozen.", errors.New(secret)),
		fmt.Errorf("freeze: %w", fault.Wrap(fault.Internal, "", "", errors.New(secret))),
	} {
		if said := fault.Say(err); strings.Contains(said, "standing") || said == "" {
			t.Errorf("Say(%v) = %q", err, said)
		}
	}
}

func TestKindSurvivesWrapping(t *testing.T) {
	until := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	err := fmt.Errorf("sign in: %w", fault.Until(fault.TooMany, "rate", "Too many tries.", until))
	if fault.KindOf(err) != fault.TooMany || fault.CodeOf(err) != "rate" {
		t.Errorf("kind %v code %q", fault.KindOf(err), fault.CodeOf(err))
	}
	if got, ok := fault.UntilOf(err); !ok || !got.Equal(until) {
		t.Errorf("until %v %v", got, ok)
	}
	if fault.KindOf(errors.New("x")) != fault.Internal || fault.CodeOf(errors.New("x")) != "internal" {
		t.Error("a foreign error is internal")
	}
	if _, ok := fault.UntilOf(errors.New("x")); ok {
		t.Error("a foreign error has no end")
	}
}
