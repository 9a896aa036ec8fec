package page

import (
	"net/http"
	"time"
)

// Gallery is the page that shows every component in every state. A door serves it in
// demonstrations only: it is for those who build pages, and for `make shots`.
func (s *Set) Gallery(w http.ResponseWriter, r *http.Request) {
	s.Write(w, r, http.StatusOK, "gallery", &galleryPage{
		Frame:   Frame{Title: "Components", Dir: r.URL.Query().Get("dir"), Demo: true},
		Shelves: shelves(),
	})
}

type galleryPage struct {
	Frame
	Shelves []shelf
}

// shelf is one component with its states.
type shelf struct {
	ID, Name, Note string
	Parts          []Part
}

var (
	galleryDay  = time.Date(2026, 5, 3, 2, 14, 7, 0, time.UTC)
	longWord    = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
	longAddress = Address("bc1q9x3hk7wq5t2m0v4c8z6r1yfj2l5n7p3s9d4g6a8u0e2k4h7mtwaq")
)

func shelves() []shelf {
	return []shelf{
		{"buttons", "Button", "One main act on a page; the quiet one for what is possible; red for taking away, and for the act that stops danger.", []Part{
			Actions{Button{Label: "Save the password"}, Button{Label: "Not now"}.Quiet(), Button{Label: "Delete all keys", Icon: "trash-2"}.Danger()},
			Button{Label: "Freeze my account", Wide: true}.Freezes(),
			Actions{Button{Label: "Remove"}.Quiet().Smaller().On("Firefox on Windows"), Button{Label: "This wasn't me", Icon: "user-x", Href: "#buttons"}.Quiet().Smaller()},
			Button{Label: "A label that is so long that it has to run over two lines on a phone, as it does in German", Href: "#buttons"},
		}},
		{"fields", "Field", "Label above, hint below it, what to mend in words that help.", []Part{
			Field{Name: "plain", Label: "Mail address", Type: "email", Autocomplete: "email"},
			Field{Name: "hint", Label: "Name of the key", Hint: "So that you know it again in a year.", Value: "Tax report"},
			Field{Name: "wrong", Label: "Password", Type: "password", Autocomplete: "new-password", Error: "That is 9 characters. Use at least 12, so that it cannot be guessed.", Rules: PasswordRules},
			Field{Name: "code", Label: "Freeze code", Code: true, Placeholder: "ABCDE-FGHIJ-KLMNO-PQRST-U"},
			Field{Name: "rows", Label: "Addresses that may use it", Rows: 3, Hint: "One on each line.", Value: "192.0.2.14\n198.51.100.0/24"},
			Summary{{"f-wrong", "That is 9 characters. Use at least 12, so that it cannot be guessed."}},
		}},
		{"choices", "Choice", "Whole rows to press.", []Part{
			Choice{Name: "keys", Legend: "What should happen to your API keys?", Hint: "You have 3.", Options: []Option{
				{Value: "delete", Label: "Delete all of them", Hint: "Programs that use them stop at once.", Chosen: true},
				{Value: "choose", Label: "Let me choose"}, {Value: "keep", Label: "Keep all of them"}}},
			Choice{Name: "scopes", Legend: "What may this key do?", Many: true, Error: "Choose at least one.", Options: []Option{
				{Value: "read", Label: "Read balances and history", Chosen: true}, {Value: "trade", Label: "Trade"}, {Value: "withdraw", Label: "Withdraw", Hint: "Begins to count 24 hours after the key is made."}}},
		}},
		{"banners", "Banner", "What, until when, why, and what lifts it.", []Part{
			Banner{Title: "Password changed", Text: []string{"Every other device was signed out."}},
			Banner{Tone: Safe, Title: "Your account is frozen. Nothing can leave it.", Facts: Facts{{"Since", Moment{At: galleryDay}}, {"Why", Text("You pressed Freeze.")}, {"What lifts it", Text("Two people at support, after they have checked that it is you.")}},
				Acts: Actions{Button{Label: "Go on: change your password", Href: "#banners"}}},
			Banner{Tone: Wait, Title: "Withdrawals wait until Thursday 18:00", Text: []string{"You changed your password. For 24 hours nothing can be withdrawn, so that a thief who changed it gains nothing."}},
			Banner{Tone: Danger, Title: "Someone signed in from a device we have not seen before. Was it you?", Facts: Facts{{"Device", Device{Browser: "Chrome", System: "Linux", Place: "Riga (LV)", FirstSeen: galleryDay}}},
				Acts: Actions{Button{Label: "It was not me", Href: "#banners"}.Danger(), Button{Label: "It was me", Href: "#banners"}.Quiet()}},
		}},
		{"receipts", "Receipt", "A tick in a disc, a broken ring, a triangle: three shapes for closed, not confirmed yet, may have left.", []Part{
			Receipts{Frozen: galleryDay, List: []Receipt{
				{Exit: "Sign-in", State: Closed, At: galleryDay},
				{Exit: "API keys", State: Closed, At: galleryDay, What: "3 keys suspended"},
				{Exit: "Pending withdrawals", State: Closed, At: galleryDay, What: "2 withdrawals cancelled, 0.41 BTC stayed here"},
				{Exit: "Withdrawals already confirmed", State: Left, What: "0.05 BTC may already have left. The platform was asked to stop it."},
				{Exit: "Open orders", Enforcer: "Harbour Exchange", State: Waiting},
			}},
			Receipts{Frozen: galleryDay, List: []Receipt{{Exit: "Sign-in", State: Closed, At: galleryDay}, {Exit: "Open orders", Enforcer: "Harbour Exchange", State: Closed, At: galleryDay.Add(time.Second), What: "3 orders cancelled: 0.41 BTC, 1,200 USDT"}}},
		}},
		{"timeline", "Timeline entry", "What happened, newest first.", []Part{Timeline{
			{Icon: "arrow-up-right", Tone: Danger, Title: "Withdrawal of 0.05 BTC requested", At: Moment{At: galleryDay}, Lines: []Part{Lines{longAddress}}, Acts: Actions{Button{Label: "This wasn't me", Icon: "user-x", Href: "#timeline"}.Quiet().Smaller()}},
			{Icon: "log-in", Title: "Signed in", At: Moment{At: galleryDay.Add(-time.Hour)}, Lines: []Part{Device{Browser: "Firefox", System: "Windows", Place: "Lyon (FR)", Address: "192.0.2.14"}}},
			{Icon: "key-round", Tone: Wait, Title: longWord, At: Moment{At: galleryDay.Add(-26 * time.Hour)}},
		}}},
		{"tables", "Table", "Cards on a phone.", []Part{Table{Caption: "Movements", Columns: []Column{{Label: "What"}, {Label: "When"}, {Label: "Amount", End: true}, {Label: "Balance after", End: true}}, Rows: []Row{
			{Text("Withdrawal"), Moment{At: galleryDay}, Amount{"-0.05", "BTC", true}, Amount{"1.15", "BTC", false}},
			{Text("Deposit"), Moment{At: galleryDay.Add(-48 * time.Hour)}, Amount{"30000.5", "USDT", true}, Amount{"1234567.123456789012345678", "USDT", false}},
		}}}},
		{"cards", "Card", "One thing with its facts and acts.", []Part{Cards{
			{Title: "Firefox on Windows", Icon: "monitor", Tag: Tag{Safe, "check", "This device"}, Facts: Facts{{"Place", Text("Lyon (FR), 192.0.2.14")}, {"First seen", Moment{At: galleryDay, Only: "date"}}}},
			{Title: longWord, Icon: "smartphone", Tag: Tag{Wait, "clock", "Suspended"}, Facts: Facts{{"Last seen", Moment{Never: "Never used"}}}, Acts: Actions{Button{Label: "Remove"}.Quiet().Smaller()}},
		}, LinkRows{{"#cards", "lock", "Password", "Changed 3 May 2026"}, {"#cards", "printer", "Freeze code", "Printed when you signed up"}}}},
		{"codesheet", "Code sheet", "A secret, shown once, made for paper.", []Part{
			CodeSheet{Title: "Your freeze code", Groups: []string{"7KQ2M", "XW4RD", "9TFHP", "C3VNY"}, Facts: Facts{{"For", Text("holder@holdfast.test")}, {"Made", Moment{At: galleryDay}}}, Steps: []string{"Go to the emergency page.", "Type your mail address and this code.", "Press Freeze."}},
			CodeSheet{Title: "Secret of the key", Groups: []string{"vWz1H0pXy8QkT3s9mB6fR2nL5cJ7dG4aE8uK1oI0vWz1H0pXy8QkT3s9mB6fR2nL"}, Long: true, Copy: true},
		}},
		{"empty", "Empty state", "Nothing here, why that is fine, what could be done.", []Part{Empty{Icon: "key-round", Title: "No API keys", Text: "Programs cannot act for you. Make a key only when one needs to.", Acts: Actions{Button{Label: "Make a key", Href: "#empty"}.Quiet()}}}},
		{"progress", "Progress", "How far a guided flow has come.", []Part{
			Steps{"Securing your account", []Step{{"Freeze", "done"}, {"Password", "now"}, {"Devices", ""}, {"API keys", ""}}},
			Steps{"Securing your account", []Step{{"Freeze", "done"}, {"Password", "done"}, {"Devices", "done"}, {"API keys", "done"}}},
		}},
		{"dialog", "Dialog", "Asks once more, where an act takes something away.", []Part{
			Button{Label: "Delete this key", Opens: "ask", Icon: "trash-2"}.Quiet(),
			Dialog{ID: "ask", Title: "Delete the key “Tax report”?", Text: "Programs that use it stop at once. It cannot be brought back by you.", Cancel: "Keep it", Form: Form{Action: "/design", Button: Button{Label: "Delete it"}.Danger()}},
		}},
		{"facts", "Facts in text", "Times in the reader's zone, grouped amounts, addresses with strong ends.", []Part{
			Facts{{"Time", Moment{At: galleryDay}}, {"Amount", Amount{"-1234567.89", "USDT", true}}, {"Address", longAddress}, {"Device", Device{Browser: "Firefox", System: "Windows", Place: "Lyon (FR)", FirstSeen: galleryDay}}, {"State", Tag{Safe, "check", "Live"}}},
		}},
	}
}
