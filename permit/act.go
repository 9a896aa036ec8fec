package permit

import (
	"slices"
	"time"

	"holdfast/evidence"
)

// Class says what an act can do to an account.
type Class int

// The classes. Opens is the zero value: an act whose class was forgotten is treated as the
// dangerous kind.
const (
	Opens   Class = iota // gives something; goes through the exit it names
	Closes               // takes something away from whoever holds the account; never refused for a freeze
	Records              // writes down what has happened elsewhere; opens nothing
)

// Exit names a way by which assets or control can leave an account. The glossary lists them; an
// integrator's own begin with "x_".
type Exit string

// The exits of every account.
const (
	SignIn            Exit = "sign_in"
	Session           Exit = "session"
	RememberedDevice  Exit = "remembered_device"
	APIKey            Exit = "api_key"
	Order             Exit = "order"
	OpenOrder         Exit = "open_order"
	WithdrawalRequest Exit = "withdrawal_request"
	PendingWithdrawal Exit = "pending_withdrawal"
	InternalTransfer  Exit = "internal_transfer"
	AddressBook       Exit = "address_book"
	SecuritySetting   Exit = "security_setting"
	SupportChange     Exit = "support_change"
)

// Limit is how often an act may be tried on one account. The zero value is no limit.
type Limit struct {
	Tries  int
	Window time.Duration
}

// Kind is everything the door has to know about an act. The table of all of them is acts.
type Kind struct {
	Name  string
	Class Class
	// Exit is the way out that an opening act goes through; empty for the other classes.
	Exit Exit
	// By lists who may do it at all.
	By []evidence.Kind
	// Protective acts stay possible in a frozen account, for a session in protective mode or for
	// someone who holds a mailed code: they look and close, or replace a password.
	Protective bool
	Limit      Limit
	// WrongOnly says that only refusals count towards the limit: at a public door, what was done
	// would tell strangers, by an earlier end of their tries, that somebody uses the account. What
	// was done meets the same limit by itself, once the proof was right: each sign-in of a thief
	// is a mail, and many would bury the first.
	WrongOnly bool
}

// Name of every act. A room that adds an act adds it to the table below, where its exit has to be
// named, and TestEveryActHasAnExit has to find its row in the exits table.
const (
	SignUp            = "sign_up"
	VerifyMail        = "verify_mail"
	EnterSession      = "sign_in"
	EnterProtective   = "sign_in_protective"
	HandOver          = "hand_over"
	RedeemHandOver    = "redeem"
	LeaveSession      = "sign_out"
	RememberDevice    = "remember_device"
	RemoveDevice      = "remove_device"
	RemoveAllDevices  = "remove_all_devices"
	ChangePassword    = "change_password"
	RequestCode       = "request_code"
	ResetPassword     = "reset_password"
	ChangeMail        = "change_mail"
	ConfirmMail       = "confirm_mail"
	SetPhone          = "set_phone"
	SetLimit          = "set_limit"
	CreateKey         = "create_key"
	EnableKey         = "enable_key"
	DeleteKey         = "delete_key"
	DeleteAllKeys     = "delete_all_keys"
	NewFreezeCode     = "new_freeze_code"
	QueueMail         = "queue_mail"
	SendFreezeLink    = "send_freeze_link"
	Freeze            = "freeze"
	ProposeRestore    = "propose_restore"
	ApproveRestore    = "approve_restore"
	PlaceHold         = "place_hold"
	SubmitReceipt     = "submit_receipt"
	RequestWithdrawal = "request_withdrawal"
	RequestTransfer   = "request_transfer"
	ConfirmWithdrawal = "confirm_withdrawal"
	SettleWithdrawal  = "settle_withdrawal"
	FailWithdrawal    = "fail_withdrawal"
	ReportMovements   = "report_movements"
	DismissSign       = "dismiss_sign"
	RegisterAccount   = "register_account"
	RegisterKey       = "register_credential"
	EndKey            = "end_credential"
	AddService        = "add_service"
	RemoveService     = "remove_service"
	AddEnforcer       = "add_enforcer"
	AddOperator       = "add_operator"
	RemoveOperator    = "remove_operator"
	AcceptClock       = "accept_clock"
	AcceptHistory     = "accept_lost_history"
	ExportEvidence    = "export_evidence"
)

const day = 24 * time.Hour

var (
	person   = []evidence.Kind{evidence.Holder}
	software = []evidence.Kind{evidence.Integrator, evidence.Key, evidence.Holder}
	platform = []evidence.Kind{evidence.Integrator}
	operator = []evidence.Kind{evidence.Operator}
	stranger = []evidence.Kind{evidence.Nobody, evidence.System}
)

// acts is the table of everything that can be done to an account.
var acts = []Kind{
	{Name: SignUp, Exit: SignIn, By: stranger},
	{Name: VerifyMail, Exit: SignIn, By: []evidence.Kind{evidence.Link}, Limit: Limit{10, day}},
	{Name: EnterSession, Exit: SignIn, By: stranger, Limit: Limit{10, 15 * time.Minute}, WrongOnly: true},
	{Name: EnterProtective, Exit: SignIn, By: []evidence.Kind{evidence.Nobody, evidence.Code, evidence.System}, Protective: true, Limit: Limit{10, 15 * time.Minute}},
	{Name: HandOver, Exit: Session, By: person, Limit: Limit{120, time.Hour}},
	{Name: RedeemHandOver, Exit: Session, By: platform, Limit: Limit{120, time.Hour}},
	{Name: LeaveSession, Class: Closes, By: []evidence.Kind{evidence.Holder, evidence.Integrator}},
	{Name: RememberDevice, Exit: RememberedDevice, By: person, Limit: Limit{30, day}},
	{Name: RemoveDevice, Class: Closes, By: person},
	{Name: RemoveAllDevices, Class: Closes, By: person},
	{Name: ChangePassword, Exit: SecuritySetting, By: person, Protective: true, Limit: Limit{20, time.Hour}},
	{Name: RequestCode, Exit: SecuritySetting, By: person, Protective: true, Limit: Limit{6, time.Hour}},
	{Name: ResetPassword, Exit: SecuritySetting, By: []evidence.Kind{evidence.Link}, Limit: Limit{10, time.Hour}},
	{Name: ChangeMail, Exit: SecuritySetting, By: person, Limit: Limit{5, day}},
	{Name: ConfirmMail, Exit: SecuritySetting, By: []evidence.Kind{evidence.Link}, Limit: Limit{10, day}},
	{Name: SetPhone, Exit: SecuritySetting, By: person, Limit: Limit{10, day}},
	{Name: SetLimit, Exit: SecuritySetting, By: person, Limit: Limit{20, day}},
	{Name: CreateKey, Exit: SecuritySetting, By: person, Limit: Limit{30, day}},
	{Name: EnableKey, Exit: SecuritySetting, By: person, Limit: Limit{30, day}},
	{Name: DeleteKey, Class: Closes, By: person},
	{Name: DeleteAllKeys, Class: Closes, By: person},
	{Name: NewFreezeCode, Exit: SecuritySetting, By: []evidence.Kind{evidence.Holder, evidence.System}, Limit: Limit{10, day}},
	{Name: QueueMail, Class: Records, By: []evidence.Kind{evidence.System}},
	{Name: SendFreezeLink, Class: Closes, By: []evidence.Kind{evidence.System}, Limit: Limit{6, time.Hour}},
	{Name: Freeze, Class: Closes, By: []evidence.Kind{evidence.Holder, evidence.Operator, evidence.Integrator, evidence.Link, evidence.Code}},
	{Name: ProposeRestore, Class: Records, By: operator, Limit: Limit{20, day}},
	{Name: ApproveRestore, Exit: SupportChange, By: operator},
	{Name: PlaceHold, Class: Closes, By: []evidence.Kind{evidence.Operator, evidence.Integrator, evidence.System}},
	{Name: SubmitReceipt, Class: Records, By: platform},
	// What the platform's software does in a loop has no limit here: it is its own customers'
	// customer, and a limit that a busy trader meets would teach it to look for a way round.
	{Name: RequestWithdrawal, Exit: WithdrawalRequest, By: software},
	{Name: RequestTransfer, Exit: InternalTransfer, By: software},
	{Name: ConfirmWithdrawal, Exit: PendingWithdrawal, By: platform},
	{Name: SettleWithdrawal, Class: Records, By: platform},
	{Name: FailWithdrawal, Class: Closes, By: platform},
	{Name: ReportMovements, Class: Records, By: platform},
	{Name: DismissSign, Class: Records, By: person},
	{Name: RegisterAccount, Exit: SignIn, By: platform},
	{Name: RegisterKey, Exit: APIKey, By: platform, Limit: Limit{500, time.Hour}},
	{Name: EndKey, Class: Closes, By: platform},
	{Name: AddService, Class: Records, By: operator},
	{Name: RemoveService, Class: Records, By: operator},
	{Name: AddEnforcer, Class: Records, By: platform},
	{Name: AddOperator, Class: Records, By: operator},
	{Name: RemoveOperator, Class: Records, By: operator},
	{Name: AcceptClock, Class: Records, By: operator},
	{Name: AcceptHistory, Class: Records, By: operator},
	{Name: ExportEvidence, Class: Records, By: operator},
}

// Acts returns every act there is.
func Acts() []Kind { return slices.Clone(acts) }

// Find returns the act of that name, and whether there is one.
func Find(name string) (Kind, bool) {
	i := slices.IndexFunc(acts, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return acts[i], true
}
