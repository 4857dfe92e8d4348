package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
	"github.com/letagentpay/letagentpay-go/operation"
)

// Categories of failure, to be asked for with [errors.Is]. The structs in this file carry the details and are reached
// with [errors.As].
var (
	// ErrInvalid: a value was refused, before anything was sent ([*ParamError]) or by the service (400, 422).
	ErrInvalid = errors.New("letagentpay: invalid request")
	// ErrUnauthorized: the token is missing, malformed or unknown (401).
	ErrUnauthorized = errors.New("letagentpay: unauthorized")
	// ErrForbidden: the account is blocked, or the agent is paused or archived (403).
	ErrForbidden = errors.New("letagentpay: forbidden")
	// ErrNotFound: no such request, or it belongs to another agent (404).
	ErrNotFound = errors.New("letagentpay: not found")
	// ErrConflict: the object is in a state that rules the operation out (409, and the 400 that answers a confirmation
	// of a request that is not approved or was confirmed before).
	ErrConflict = errors.New("letagentpay: conflict")
	// ErrRateLimited: more purchases in a minute than the service takes (429).
	ErrRateLimited = errors.New("letagentpay: rate limited")
	// ErrTooManyPending: too many purchases await a human already (429). Repeating does not help until some are decided.
	ErrTooManyPending = errors.New("letagentpay: too many pending requests")
	// ErrServer: the service failed (5xx).
	ErrServer = errors.New("letagentpay: server error")
	// ErrNoResponse: no answer arrived: the connection could not be made, or broke, or timed out.
	ErrNoResponse = errors.New("letagentpay: no response")
	// ErrMalformedResponse: an answer arrived that is not what the API promises: no JSON, truncated, too large, without
	// its required fields, with one of them twice, or in contradiction with itself or with the question.
	ErrMalformedResponse = errors.New("letagentpay: malformed response")
	// ErrNotApproved is matched by [*NotApprovedError]: the purchase is rejected, pending or expired, and was not run.
	ErrNotApproved = errors.New("letagentpay: not approved")
	// ErrInProgress: another call of this process under the same idempotency key or request did not end in time.
	ErrInProgress = errors.New("letagentpay: another call under the same key or request is in progress")
	// ErrSettled: the approval was settled before, and what is said of it now comes too late.
	ErrSettled = errors.New("letagentpay: approval already settled")
)

// ParamError reports a value that was refused before anything was sent. It matches [ErrInvalid].
type ParamError struct {
	Field  string // the field or option, as it is written in Go: "PurchaseParams.Amount"
	Value  string // the value refused, shortened when long; never a secret
	Reason string // what is accepted instead
	Err    error  // the cause, if there is one
}

func (e *ParamError) Error() string {
	text := "letagentpay: invalid " + e.Field
	if e.Value != "" {
		text += " " + strconv.Quote(e.Value)
	}
	return text + ": " + e.Reason
}

// Is reports whether target is [ErrInvalid].
func (e *ParamError) Is(target error) bool { return target == ErrInvalid }

// Unwrap returns the cause, or nil.
func (e *ParamError) Unwrap() error { return e.Err }

// NotApprovedError reports that a purchase is not approved, so the function did not run and nothing may be paid. It
// matches [ErrNotApproved]. Status reports why:
//
//   - [StatusRejected]: the policy or a human rejected it.
//   - [StatusPending]: it awaits a human, and the call does not wait longer. [Resume] or [ResumeApproval] with RequestID
//     continues it once it is decided.
//   - [StatusExpired]: nobody decided it in time.
type NotApprovedError struct {
	RequestID      string
	IdempotencyKey string    // the key that the purchase was sent under; empty for a resumed one
	Status         Status    // StatusRejected, StatusPending or StatusExpired
	Checks         []Check   // of a rejection: the policy checks that failed; empty when a human rejected it
	ExpiresAt      time.Time // of a pending purchase: when it expires unless it is decided; zero when unknown
	Err            error     // of a pending purchase: why the wait ended, such as a *WaitTimeoutError; nil without a wait
}

func (e *NotApprovedError) Error() string {
	text := "letagentpay: " + purchaseOf(e.RequestID)
	switch e.Status {
	case StatusRejected:
		return text + " was rejected" + e.reasons() + becauseOf(e.Err)
	case StatusPending:
		return text + " awaits approval" + becauseOf(e.Err)
	case StatusExpired:
		return text + " expired before it was approved" + becauseOf(e.Err)
	}
	return text + " is not approved" + e.reasons() + becauseOf(e.Err)
}

// reasons lists the checks that failed.
func (e *NotApprovedError) reasons() string {
	if len(e.Checks) == 0 {
		if e.Status == StatusRejected {
			return " on review"
		}
		return ""
	}
	text := ""
	for i, check := range e.Checks[:min(len(e.Checks), maxFields)] {
		text += []string{": ", "; "}[min(i, 1)] + cleaned(check.Rule, shortText)
		if check.Detail != "" {
			text += " (" + cleaned(check.Detail, sampleText) + ")"
		}
	}
	if more := len(e.Checks) - maxFields; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Is reports whether target is [ErrNotApproved].
func (e *NotApprovedError) Is(target error) bool { return target == ErrNotApproved }

// Unwrap returns why the wait ended, or nil.
func (e *NotApprovedError) Unwrap() error { return e.Err }

// WaitTimeoutError reports that the time to wait ended before the request was decided. It matches
// [context.DeadlineExceeded].
type WaitTimeoutError struct {
	RequestID string
	Last      *Request // the last state seen; nil when no poll succeeded
	Err       error    // the failure of the last poll, if it failed
}

func (e *WaitTimeoutError) Error() string {
	text := "letagentpay: request " + cleaned(e.RequestID, idText) + " was not decided in time"
	if e.Last != nil {
		text += ", last seen " + e.Last.Status.text()
	}
	if e.Err != nil {
		text += "; last poll" + becauseOf(e.Err)
	}
	return text
}

// Is reports whether target is [context.DeadlineExceeded].
func (e *WaitTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns the failure of the last poll, or nil.
func (e *WaitTimeoutError) Unwrap() error { return e.Err }

// UnconfirmedError reports that the guarded function ran, and the service does not know how it ended. Either the confirmation
// did not get through: send it again, with [Client.Confirm] or by calling [Approval.Settle] once more. Or, with
// MayHaveSpent, the function failed in a way that can hide a payment, and nothing was confirmed: the money stays booked
// until the caller, who can find out, confirms the purchase with [Client.Confirm].
type UnconfirmedError struct {
	RequestID    string
	Params       ConfirmParams // what to send; with MayHaveSpent, what to send if it was paid as requested
	MayHaveSpent bool          // the function's own outcome is in doubt
	Err          error         // why it did not get through: *APIError, *OutcomeUnknownError; with MayHaveSpent the function's error
}

func (e *UnconfirmedError) Error() string {
	if e.MayHaveSpent {
		return "letagentpay: " + purchaseOf(e.RequestID) + " may have been paid, and stays booked until it is confirmed" + becauseOf(e.Err)
	}
	outcome := "failed"
	if e.Params.Success {
		outcome = "completed"
	}
	return "letagentpay: " + purchaseOf(e.RequestID) + " " + outcome + " but could not be confirmed" + becauseOf(e.Err)
}

// Unwrap returns why the confirmation did not get through, or the function's error.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// DuplicateError reports that the attempts at one purchase have made more than one request, because the service was
// still at work on an attempt when the next arrived. The purchase itself is not affected: it ran under RequestID or not,
// as the call's result and other errors say. Nothing of this process runs under the duplicates. Give their money back with
// [Client.Confirm] and a zero [ConfirmParams] once they are approved.
//
// Duplicates are looked for as long as the call lasts, and by [Client.Recover] where there is a journal: one that the
// service makes later is not found without. They are found by their content and time. Where another process of the agent
// makes an identical purchase at the same time, or for [Client.Recover] within five minutes, it may be one of them: find
// out before you give it back, because that process may be paying.
type DuplicateError struct {
	RequestID      string   // the request that counts
	Duplicates     []string // the others
	IdempotencyKey string
}

func (e *DuplicateError) Error() string {
	return "letagentpay: " + purchaseOf(e.RequestID) + " was also made as " + listOf(e.Duplicates) + ", which will not be used"
}

// OutcomeUnknownError reports that the call may or may not have taken effect, and all attempts to find out failed.
//
// A purchase is safe to repeat with IdempotencyKey set to the one given here: the service then answers for the first. A
// guarded call that is repeated so runs if the lost purchase had not been made; if it had, another process may have
// used the key, so it is an [*AlreadyHandledError], and [ResumeApproval] continues.
//
// A confirmation is settled by reading the request, an x402 report by sending it again. An x402 authorisation that is
// unknown may have used up budget, and must not be paid on.
type OutcomeUnknownError struct {
	Op             operation.Op // operation.Purchase, Confirm, X402Authorize, X402Report or X402RegisterWallet
	IdempotencyKey string       // of a purchase: the key to repeat it with
	RequestID      string       // of a confirmation, the authorisation of a report, or a purchase that was answered and could not be judged
	Err            error        // the last failure
	// Found are the ids of requests of the same content that came since the first attempt: one of them may be this
	// purchase. The others are duplicates, see [DuplicateError], or identical purchases made at the same time.
	Found []string

	alone bool // no identical purchase of this process was made at the same time
}

func (e *OutcomeUnknownError) Error() string {
	text := "letagentpay: " + string(e.Op) + ": outcome unknown"
	if e.IdempotencyKey != "" {
		text += ", repeat with idempotency key " + quoted(e.IdempotencyKey, idText)
	}
	if e.RequestID != "" {
		text += ", request " + cleaned(e.RequestID, idText)
	}
	if len(e.Found) > 0 {
		text += ", found in the list: " + listOf(e.Found)
	}
	return text + becauseOf(e.Err)
}

// Unwrap returns the last failure.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// AlreadyHandledError reports that this call did not run the purchase under its idempotency key or request id, because
// another call has handled it, handles it now, or may still do so.
//
// MayHaveRun and Request.Status say what to do:
//
//	Request.Status           MayHaveRun  what to do
//	completed                either      nothing: it was bought
//	failed                   either      nothing was bought, or it was refunded: make a new purchase if it is still wanted
//	approved, auto_approved  true        look into your own books; confirm it with Client.Confirm, or resume it
//	approved, auto_approved  false       resume it, if no other process runs it or will
//	pending                  false       another process awaits the decision; resume it, if that process has given up
//
// By resuming, see [Resume], the caller asserts that no other call has run the purchase or will.
type AlreadyHandledError struct {
	Request        *Request // what is known of the request; its Status decides
	IdempotencyKey string
	MayHaveRun     bool   // the function may have run under it, or runs now
	Reason         string // why this call did not run it, in words
	Err            error  // the cause, if there is one: with a journal, the function's error then, or why its result is gone
}

func (e *AlreadyHandledError) Error() string {
	var request Request
	if e.Request != nil {
		request = *e.Request
	}
	text := "letagentpay: " + purchaseOf(request.RequestID)
	switch {
	case e.Reason != "":
		text += " was not run by this call: " + cleaned(e.Reason, sampleText)
	case e.MayHaveRun:
		text += " belongs to another call, which may have run"
	default:
		text += " belongs to another call"
	}
	if request.Status != "" {
		text += " (status " + request.Status.text() + ")"
	}
	return text + becauseOf(e.Err)
}

// The reasons of an AlreadyHandledError, one for each case.
const (
	reasonRunning        = "the call that this one is made from runs it now"
	reasonUnconfirmed    = "this process has run it, and has yet to confirm it"
	reasonConfirmed      = "this process has run and confirmed it"
	reasonBeingConfirmed = "its confirmation is under way, or the service may still handle one"
	reasonStarted        = "the journal shows that an earlier call started it, and not how that ended"
	reasonReturned       = "the journal shows that an earlier call ran it"
	reasonOtherProcess   = "neither this process nor its journal has requested it; resume it if no other process will run it"
	reasonOtherMayRun    = "neither this process nor its journal has requested it, so another process may have run it"
	reasonGuarded        = "a guarded call of this process has requested it"
	reasonOtherCall      = "the answer names the request of another call of this process"
	reasonDuplicate      = "the request to resume is a duplicate of it"
	reasonDecided        = "the request has ended"
	reasonUnknownStatus  = "its status is unknown to this version of the SDK"
)

// Unwrap returns Err, or nil.
func (e *AlreadyHandledError) Unwrap() error { return e.Err }

// status returns the status of the request, empty for an error made by hand without one.
func (e *AlreadyHandledError) status() Status {
	if e.Request == nil {
		return ""
	}
	return e.Request.Status
}

// MismatchError reports that the purchase request found under a key or an id is for something else than the call
// describes, so nothing was run. It is the caller's mistake: use another key, or the id of the purchase described. It
// matches [ErrConflict].
type MismatchError struct {
	RequestID string
	Field     string // "Amount", "Category", "Currency", "MerchantName" or "Description"
	Requested string // what the request is for
	Described string // what the call describes
}

func (e *MismatchError) Error() string {
	return "letagentpay: " + purchaseOf(e.RequestID) + " is for another " + strings.ToLower(e.Field) + ": requested " +
		quoted(e.Requested, sampleText) + ", described " + quoted(e.Described, sampleText)
}

// Is reports whether target is [ErrConflict].
func (e *MismatchError) Is(target error) bool { return target == ErrConflict }

// OverspendError reports that more was spent than approved. The true amount is recorded all the same.
type OverspendError struct {
	RequestID string
	Approved  Amount
	Actual    Amount
}

func (e *OverspendError) Error() string {
	return "letagentpay: " + purchaseOf(e.RequestID) + ": spent " + e.Actual.String() + ", approved " + e.Approved.String()
}

// JournalError reports that the journal could not be read or written. Unless State is [journal.Returned] or
// [journal.Settled], the function did not run.
type JournalError struct {
	Op             string        // "get", "put", "delete" or "entries"
	State          journal.State // the state that was to be written
	RequestID      string        // once it is known
	IdempotencyKey string
	Err            error
}

func (e *JournalError) Error() string {
	text := "letagentpay: journal: " + e.Op
	if e.State != "" {
		text += " " + string(e.State)
	}
	if e.RequestID != "" {
		text += ", " + purchaseOf(e.RequestID)
	}
	return text + becauseOf(e.Err)
}

// Unwrap returns the journal's own error.
func (e *JournalError) Unwrap() error { return e.Err }

// purchaseOf names a purchase in an error's text.
func purchaseOf(requestID string) string {
	if requestID == "" {
		return "a purchase"
	}
	return "purchase " + cleaned(requestID, idText)
}

// listOf names requests in an error's text.
func listOf(requestIDs []string) string {
	var texts []string
	for _, id := range requestIDs[:min(len(requestIDs), maxFields)] {
		texts = append(texts, cleaned(id, idText))
	}
	if more := len(requestIDs) - maxFields; more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

// as returns the first error of a type in a chain, or its zero value.
func as[E error](err error) E {
	found, _ := errors.AsType[E](err)
	return found
}

// decision is what an error of a guarded call reports about the decision on its purchase.
type decision struct {
	requestID string
	status    Status // of the request; empty when the error reports none
	final     bool   // no later call can run under the request
}

// decisionOf is the one place where an error is turned into a decision:
//
//	*NotApprovedError     its status; final unless pending
//	*AlreadyHandledError  the status of its request; final
//	*MismatchError        no status: the request found is for something else
//	any other error       no decision
func decisionOf(err error) decision {
	if refused := as[*NotApprovedError](err); refused != nil {
		return decision{refused.RequestID, refused.Status, refused.Status != StatusPending}
	}
	if handled := as[*AlreadyHandledError](err); handled != nil {
		d := decision{status: handled.status(), final: true}
		if handled.Request != nil {
			d.requestID = handled.Request.RequestID
		}
		return d
	}
	if mismatch := as[*MismatchError](err); mismatch != nil {
		return decision{requestID: mismatch.RequestID}
	}
	return decision{}
}
