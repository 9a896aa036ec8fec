package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"holdfast/account"
)

// TestTheGuideWorks makes every call of docs/integrating.md in its order, as a reader would.
func TestTheGuideWorks(t *testing.T) {
	text, err := os.ReadFile("../docs/integrating.md")
	must(t, err)
	calls := regexp.MustCompile("(?s)`POST /holdfast\\.v1\\.(\\w+/\\w+)`[^\n]*\n\n```json\n(.*?)\n```").FindAllStringSubmatch(string(text), -1)
	each(t, func(t *testing.T, w *world) {
		_, k := w.service("exchange")
		token := bearer(t, k)
		withdrawal, made := "", map[string]bool{}
		var id account.ID
		for _, call := range calls {
			method, body := call[1], call[2]
			if method == "GuardService/SubmitReceipt" {
				frozen, err := w.guard.Freeze(t.Context(), operator, id, "test")
				must(t, err)
				body = strings.ReplaceAll(body, "EPOCH", fmt.Sprint(frozen.Epoch))
			}
			body = strings.ReplaceAll(body, "WITHDRAWAL", withdrawal)
			status, _, answer := w.postJSON(method, token, body)
			if status != 200 {
				t.Fatalf("%s: %d %v", method, status, answer)
			}
			if decision, ok := answer["decision"].(map[string]any); ok && decision["verdict"] != "VERDICT_ALLOW" {
				t.Errorf("%s: %v", method, decision)
			}
			if got, ok := answer["withdrawal"].(map[string]any); ok {
				withdrawal, _ = got["withdrawalId"].(string)
			}
			if got, ok := answer["accountId"].(string); ok {
				id = account.ID(got)
			}
			made[method] = true
		}
		if len(made) != 9 {
			all, err := json.Marshal(made)
			must(t, err)
			t.Errorf("%d calls in the guide: %s", len(made), all)
		}
		// What the table of scopes names is what there is.
		for _, scope := range account.ServiceScopes {
			if !strings.Contains(string(text), "| `"+scope+"` |") {
				t.Errorf("the guide does not name the scope %s", scope)
			}
		}
	})
}
