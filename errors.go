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

// The categories of errors, for [errors.Is]. The error types of this package carry the details, for [errors.As].
var (
	// ErrInvalid is returned when a value is refused, by the client before anything is sent ([*ParamError]) or by the
	// service (400, 422).
	ErrInvalid = errors.New("letagentpay: invalid request")
	// ErrUnauthorized is returned when the token is missing, malformed or unknown (401).
	ErrUnauthorized = errors.New("letagentpay: unauthorized")
	// ErrForbidden is returned when the account is blocked, or the agent is paused or archived (403).
	ErrForbidden = errors.New("letagentpay: forbidden")
	// ErrNotFound is returned when there is no such request, or it belongs to another agent (404).
	ErrNotFound = errors.New("letagentpay: not found")
	// ErrConflict is returned when the state of the object rules the operation out (409, and the 400 that answers a
	// confirmation of a request that is not approved or is already confirmed), and for a [*MismatchError].
	ErrConflict = errors.New("letagentpay: conflict")
	// ErrRateLimited is returned when the agent makes more purchases in a minute than the service accepts (429).
	ErrRateLimited = errors.New("letagentpay: rate limited")
	// ErrTooManyPending is returned when too many purchases await a human (429). Retrying helps once some are decided.
	ErrTooManyPending = errors.New("letagentpay: too many pending requests")
	// ErrServer is returned when the service failed (5xx).
	ErrServer = errors.New("letagentpay: server error")
	// ErrNoResponse is returned when no answer arrived: the connection could not be made, broke, or timed out.
	ErrNoResponse = errors.New("letagentpay: no response")
	// ErrMalformedResponse is returned when an answer is not what the API promises: not JSON, truncated, too large,
	// without a required field, with a field given twice, or contradicting itself or the request.
	ErrMalformedResponse = errors.New("letagentpay: malformed response")
	// ErrNotApproved is returned as a [*NotApprovedError]: the purchase is rejected, pending or expired, and was not
	// run.
	ErrNotApproved = errors.New("letagentpay: not approved")
	// ErrInProgress is returned when another call of this process under the same key or request does not end in time.
	ErrInProgress = errors.New("letagentpay: another call under the same key or request is in progress")
	// ErrSettled is returned by [Approval.Spent] after [Approval.Settle]: the amount is no longer confirmed.
	ErrSettled = errors.New("letagentpay: approval already settled")
)

// ParamError reports a value that was refused before anything was sent. It matches [ErrInvalid].
type ParamError struct {
	Field  string // the field, option or parameter, as it is written in Go: "PurchaseParams.Amount"
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
//   - [StatusPending]: it awaits a human, and the call waits no longer. [Resume] or [ResumeApproval] with RequestID
//     continues it once it is decided.
//   - [StatusExpired]: nobody decided it in time.
type NotApprovedError struct {
	RequestID      string
	IdempotencyKey string    // the key that the purchase was sent under; empty for a resumed one
	Status         Status    // StatusRejected, StatusPending or StatusExpired
	Checks         []Check   // of a rejection: the checks that failed; empty if a human rejected it or it was resumed
	ExpiresAt      time.Time // of a pending purchase: when it expires unless it is decided; zero when unknown
	Err            error     // of a pending purchase: why the wait ended, a *WaitTimeoutError; nil without a wait
}

func (e *NotApprovedError) Error() string {
	text := "letagentpay: " + purchaseOf(e.RequestID)
	switch e.Status {
	case StatusRejected:
		return text + " was rejected" + e.reasons() + causeSuffix(e.Err)
	case StatusPending:
		return text + " awaits approval" + causeSuffix(e.Err)
	case StatusExpired:
		return text + " expired before it was approved" + causeSuffix(e.Err)
	}
	return text + " is not approved" + e.reasons() + causeSuffix(e.Err)
}

// reasons lists the checks that failed.
func (e *NotApprovedError) reasons() string {
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

// WaitTimeoutError reports that a request was not decided in the time that the wait had. It matches
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
		text += "; last poll" + causeSuffix(e.Err)
	}
	return text
}

// Is reports whether target is [context.DeadlineExceeded].
func (e *WaitTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns the failure of the last poll, or nil.
func (e *WaitTimeoutError) Unwrap() error { return e.Err }

// UnconfirmedError reports that the service does not know the outcome of a guarded purchase: its function ran, or it
// was approved and could not be refunded.
//
// With MayHaveSpent the function may have paid: its error can hide a payment, so nothing was confirmed, and the money
// stays booked. Find out whether it paid, and confirm the purchase with [Client.Confirm].
//
// Otherwise the confirmation did not succeed: send Params again with [Client.Confirm], or call [Approval.Settle] again.
type UnconfirmedError struct {
	RequestID    string
	Params       ConfirmParams // what to confirm; with MayHaveSpent, if the amount requested was paid
	MayHaveSpent bool          // the function may have paid
	Err          error         // why confirming failed: *APIError, *OutcomeUnknownError; with MayHaveSpent fn's error
}

func (e *UnconfirmedError) Error() string {
	text := "letagentpay: " + purchaseOf(e.RequestID)
	if e.MayHaveSpent {
		return text + " may have been paid, and stays booked until it is confirmed" + causeSuffix(e.Err)
	}
	return text + " " + string(e.Params.status()) + " but could not be confirmed" + causeSuffix(e.Err)
}

// Unwrap returns why the confirmation failed, or the function's error.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// DuplicateError reports that the attempts at one purchase have made more than one request, because the service still
// handled an attempt when the next one arrived.
//
// A duplicate may be the purchase of another process. Duplicates are found by content and creation time, so when
// another process of the agent makes an identical purchase at the same time, or for [Client.Recover] within five
// minutes, its request looks like one. Make sure that no process pays under a duplicate; then refund it with
// [Client.Confirm] and a zero [ConfirmParams] once it is approved.
//
// The purchase itself is not affected: whether it ran under RequestID is what the call's result and its other errors
// report. This process runs nothing under the duplicates. It looks for them while the call lasts, and with a journal in
// [Client.Recover]; without a journal, one that the service makes later is not found.
type DuplicateError struct {
	RequestID      string   // the request that counts
	Duplicates     []string // the others
	IdempotencyKey string
}

func (e *DuplicateError) Error() string {
	text := "letagentpay: " + purchaseOf(e.RequestID) + " was also made as "
	return text + listOf(e.Duplicates) + ", which will not be used"
}

// OutcomeUnknownError reports that a call may or may not have taken effect, and that all attempts to find out failed.
//
//   - A purchase is safe to repeat under the IdempotencyKey of the error: the service answers with the first request. A
//     guarded call under that key runs if the purchase was not made. If it was made, another process may have used the
//     key, so the error is an [*AlreadyHandledError], and [ResumeApproval] continues the purchase.
//   - A confirmation is safe to settle: read the request, and confirm it again while it is approved.
//   - An x402 report is safe to send again.
//   - Do not pay on an x402 authorisation with an unknown outcome. It may have used up budget.
type OutcomeUnknownError struct {
	Op             operation.Op // Purchase, Confirm, X402Authorize, X402Report or X402RegisterWallet
	IdempotencyKey string       // of a purchase: the key to repeat it under
	RequestID      string       // of a confirmation or an answer in doubt; of a report: the authorisation
	Err            error        // the last failure
	// Found are the requests of the same content that were created since the first attempt. One of them may be this
	// purchase; the others are duplicates, see [DuplicateError], or identical purchases made at the same time.
	Found []string

	alone bool // no other identical purchase of this process was under way at the same time
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
	return text + causeSuffix(e.Err)
}

// Unwrap returns the last failure.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// AlreadyHandledError reports that this call did not run the purchase, because another call has run it, runs it now, or
// may still run it. By resuming the request, see [Resume], you assert that no other call has run it or will.
//
// Request.Status and MayHaveRun show what to do:
//
//	Request.Status           MayHaveRun  what to do
//	completed                either      nothing: it was bought
//	failed                   either      it was refunded: make a new purchase if it is still wanted
//	approved, auto_approved  true        look into your own books, then confirm it; a new process may resume it
//	approved, auto_approved  false       another call of this process will run or refund it: wait for that call;
//	                                     if its refund failed, confirm the purchase as failed
//	pending                  either      another call waits for the decision: resume it if its process has ended
//	rejected, expired        either      nothing: nothing was bought
//	any other                either      update the SDK: it does not know the status
type AlreadyHandledError struct {
	Request        *Request // as far as it is known; of a duplicate: the request that counts
	IdempotencyKey string
	MayHaveRun     bool   // a function may have run under the request, or runs under it now
	Reason         string // why this call did not run it, for people
	Err            error  // from the journal: the text of the function's error, or why its result is gone; else nil
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
	return text + causeSuffix(e.Err)
}

// The reasons of an AlreadyHandledError, one for each case.
const (
	reasonRunning        = "the call that this one is made from runs it now"
	reasonUnconfirmed    = "this process has run it, and has yet to confirm it"
	reasonConfirmed      = "this process has run and confirmed it"
	reasonBeingConfirmed = "its confirmation is under way, or the service may still handle one"
	reasonStarted        = "the journal shows that an earlier call started it, and not how that ended"
	reasonReturned       = "the journal shows that an earlier call ran it"
	reasonOtherProcess   = "neither this process nor its journal has requested it; resume it if no other process will"
	reasonOtherMayRun    = "neither this process nor its journal has requested it, so another process may have run it"
	reasonGuarded        = "a guarded call of this process has requested it"
	reasonOtherCall      = "the answer names the request of another call of this process"
	reasonDuplicate      = "the request to resume is a duplicate of it"
	reasonDecided        = "the request has ended"
	reasonUnknownStatus  = "its status is unknown to this version of the SDK"
)

// Unwrap returns Err, or nil.
func (e *AlreadyHandledError) Unwrap() error { return e.Err }

// status returns the status of the request, empty when the error has no request.
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
	text := "letagentpay: " + purchaseOf(e.RequestID)
	return text + ": spent " + e.Actual.String() + ", approved " + e.Approved.String()
}

// JournalError reports that the journal could not be read or written. From a guarded call, unless State is
// [journal.Returned] or [journal.Settled], the function did not run.
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
	return text + causeSuffix(e.Err)
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

// isFinal reports whether err ends the purchase: no later call can run under its request.
func isFinal(err error) bool { return decisionOf(err).final }
