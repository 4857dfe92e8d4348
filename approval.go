package letagentpay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/letagentpay/letagentpay-go/journal"
)

const (
	settleLimit  = 10 * time.Second // how long a confirmation may take, even if the caller's context ends
	attemptLimit = 3 * time.Second  // how long one attempt may take, so that one that hangs leaves time for others
)

// Approval is the permission to pay once, up to an amount. [Client.Authorize] and [ApprovalFromContext] return it, and
// [Approval.Settle] ends it. The zero value is not an approval. It is safe for concurrent use.
type Approval struct {
	client         *Client
	requestID      string
	amount         Amount
	category       string
	idempotencyKey string
	settling       chan struct{}  // holds a value while a Settle is under way
	authorization  *authorization // its record is written only by the Settle that is under way
	scoped         *scopedPurchase
	resumption     *resumption
	callContext    context.Context
	finish         func(Observation) // reports to the observers; nil afterwards

	mu               sync.Mutex
	spent            *ConfirmParams // what Spent recorded
	outcome          *outcome       // what the first Settle decided
	mayHaveConfirmed bool           // an earlier confirmation may have taken effect
	settled          bool
	result           []byte // of the guarded function, encoded for the journal
	failure          string // the text of the function's error
}

// outcome is what the first Settle decided.
type outcome struct {
	params ConfirmParams
	doubt  error // the function's error, if it can hide a payment: nothing is confirmed
}

// text returns the status that is confirmed.
func (o *outcome) text() string {
	if o.doubt != nil {
		return "nothing"
	}
	return string(o.params.status())
}

// RequestID returns the id of the purchase request.
func (a *Approval) RequestID() string { return a.requestID }

// Amount returns the amount approved.
func (a *Approval) Amount() Amount { return a.amount }

// Category returns the category of the purchase, as the service resolved it.
func (a *Approval) Category() string { return a.category }

// IdempotencyKey returns the key under which the purchase was requested. It is empty for a resumed purchase.
func (a *Approval) IdempotencyKey() string { return a.idempotencyKey }

type approvalKey struct{}

// ApprovalFromContext returns the approval under which a guarded function runs, and whether ctx is that of one.
func ApprovalFromContext(ctx context.Context) (*Approval, bool) {
	approval, ok := ctx.Value(approvalKey{}).(*Approval)
	return approval, ok
}

// context returns the context of the guarded function: the call's, with the approval and the values of observers, and
// without the id that the call resumes.
func (a *Approval) context() context.Context {
	return withoutResumption(context.WithValue(a.callContext, approvalKey{}, a))
}

var minAmount, maxAmount = MustAmount("0.01"), MustAmount("9999999")

// Spent records that the purchase was paid, and for which amount, in the account's currency. It records even when it
// returns an error. [Approval.Settle] then confirms the purchase as completed, even if the function fails afterwards.
// The last valid call counts.
//
// The amount is rounded to hundredths, halves away from zero as the service does, but never to zero. More than
// 9,999,999, the service's maximum, is confirmed as 9,999,999. The errors:
//
//   - [*OverspendError]: more than the approved amount. It is recorded, because it was paid.
//   - [*ParamError]: the amount is not above zero. The amount of an earlier call stands; without one, the purchase
//     counts as paid for the approved amount.
//   - [*ParamError]: the receipt URL has more than 2000 characters. The amount is recorded without it.
//   - [ErrSettled]: after Settle. Nothing is recorded; the amount is logged to the client's logger, or to
//     [slog.Default].
func (a *Approval) Spent(actual Amount, receiptURL string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcome != nil {
		a.client.alert(a.callContext, "letagentpay.spent_late", slog.String("request_id", a.requestID),
			slog.String("amount", actual.String()), slog.String("confirmed_as", a.outcome.text()))
		return fmt.Errorf("%w: purchase %s", ErrSettled, a.requestID)
	}
	if actual.Sign() <= 0 {
		if a.spent == nil {
			a.spent = &ConfirmParams{Success: true}
		}
		return paramError("actual", actual.String(),
			"want an amount above zero; a function that paid nothing returns an error and does not call Spent")
	}
	rounded := maxAmount
	if actual.Less(maxAmount) {
		rounded = actual.Round()
	}
	if rounded.IsZero() {
		rounded = minAmount
	}
	spending := &ConfirmParams{Success: true, ActualAmount: rounded}
	receiptErr := checkText("receiptURL", receiptURL, 2000)
	switch {
	case receiptErr == nil:
		spending.ReceiptURL = receiptURL
	case a.spent != nil:
		spending.ReceiptURL = a.spent.ReceiptURL
	}
	a.spent = spending
	if a.amount.Less(rounded) {
		return withCleanup(&OverspendError{RequestID: a.requestID, Approved: a.amount, Actual: actual}, receiptErr)
	}
	return receiptErr
}

// hasSpent reports whether Spent was called.
func (a *Approval) hasSpent() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spent != nil
}

// Settle ends the approval and confirms the outcome to the service. err is the error of the code that pays, nil for a
// success:
//
//	Spent was called                   completed for the amount spent, whatever err is
//	err is nil                         completed for the approved amount
//	err can hide a payment             nothing is confirmed, the money stays booked, and Settle returns an
//	                                   *UnconfirmedError with MayHaveSpent: find out, then use Client.Confirm
//	err is any other error             failed: the money returns to the budget
//
// [MayHavePaid], [NotPaid] and [OnError] decide which errors can hide a payment. The first call decides the outcome;
// later calls ignore err. The confirmation takes at most 10 seconds and does not depend on ctx, which may be nil. If it
// does not succeed, the error is an [*UnconfirmedError], and Settle may be called again. After a success Settle returns
// nil and does nothing, so it may be deferred. A [*DuplicateError] is joined when the purchase has duplicates.
func (a *Approval) Settle(ctx context.Context, err error) (settleErr error) {
	if a.authorization == nil {
		return paramError("Approval", "", "want an approval of Client.Authorize")
	}
	// Deferred functions, the last one first: the call's locks are released, and then the next Settle may start.
	a.settling <- struct{}{}
	defer func() { <-a.settling }()
	outcome, first, settled := a.decide(err)
	if settled {
		return nil
	}
	if first && err != nil && outcome.doubt == nil {
		a.recordFailure(err)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	defer a.authorization.release()
	ctx = context.WithoutCancel(ctx)
	if outcome.doubt != nil {
		settleErr = a.leaveBooked(ctx, outcome, first)
	} else {
		settleErr = a.confirm(ctx, outcome)
	}
	a.scoped.done(settleErr == nil && err == nil, settleErr == nil && !outcome.params.Success)
	if settleErr == nil {
		a.resumption.useUp(&a.authorization.params)
	}
	a.scoped = nil
	a.report(outcome, errors.Join(err, settleErr))
	return settleErr
}

// decide decides the outcome in the first call, and returns it in every call.
func (a *Approval) decide(err error) (decided *outcome, first, settled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcome == nil {
		first = true
		switch {
		case a.spent != nil:
			a.outcome = &outcome{params: *a.spent}
		case err == nil:
			a.outcome = &outcome{params: ConfirmParams{Success: true}}
		case a.authorization.config.hidesPayment(err):
			a.outcome = &outcome{params: ConfirmParams{Success: true}, doubt: err}
		default:
			a.outcome = &outcome{}
		}
	}
	return a.outcome, first, a.settled
}

// leaveBooked confirms nothing, because the function's error can hide a payment.
func (a *Approval) leaveBooked(ctx context.Context, o *outcome, first bool) error {
	if first {
		a.authorization.record.entry.Error = userErrorText(o.doubt)
		if err := a.authorization.record.put(ctx, journal.Started); err != nil {
			a.client.alertJournal(ctx, a.requestID, err)
		}
	}
	cause := o.doubt
	if isTypedNil(cause) {
		cause = errors.New(userErrorText(cause)) // its own methods may panic
	}
	unconfirmed := &UnconfirmedError{RequestID: a.requestID, Params: o.params, MayHaveSpent: true, Err: cause}
	return withCleanup(unconfirmed, a.findDuplicates(ctx))
}

// confirm reports the outcome to the service, and to the journal before and after it.
func (a *Approval) confirm(ctx context.Context, o *outcome) error {
	journalErr := a.recordOutcome(ctx, o.params)
	_, confirmErr := a.client.confirm(ctx, a.requestID, o.params, confirmOptions{
		mayHaveConfirmed: a.mayConfirmTwice(),
		attemptLimit:     attemptLimit,
		totalLimit:       settleLimit,
	})
	duplicates := a.findDuplicates(ctx)
	if confirmErr != nil {
		if _, unknown := errors.AsType[*OutcomeUnknownError](confirmErr); unknown {
			a.mu.Lock()
			a.mayHaveConfirmed = true
			a.mu.Unlock()
		}
		unconfirmed := &UnconfirmedError{RequestID: a.requestID, Params: o.params, Err: confirmErr}
		return withCleanup(withCleanup(unconfirmed, journalErr), duplicates)
	}
	a.mu.Lock()
	a.settled = true
	a.mu.Unlock()
	if a.authorization.purchase != nil {
		a.authorization.record.entry.Duplicates = a.authorization.purchase.Duplicates
	}
	if err := a.authorization.record.put(ctx, journal.Settled); err != nil { // only the record is wrong
		a.client.alertJournal(ctx, a.requestID, err)
	}
	return duplicates
}

func (a *Approval) mayConfirmTwice() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mayHaveConfirmed
}

// findDuplicates returns a [*DuplicateError] if the purchase has duplicates. It reads the list once more, because an
// attempt may have made its request late.
func (a *Approval) findDuplicates(ctx context.Context) error {
	purchase := a.authorization.purchase
	if purchase == nil {
		return nil
	}
	duplicates := slices.DeleteFunc(slices.Clone(purchase.Duplicates), func(id string) bool {
		return a.client.progress(id) != unknownHere // it is another call's
	})
	if purchase.posting != nil {
		for _, id := range purchase.posting.lateRequests(ctx, a.requestID) {
			if !slices.Contains(duplicates, id) {
				a.client.alertDuplicate(ctx, id, a.requestID, a.idempotencyKey)
				duplicates = append(duplicates, id)
			}
		}
	}
	purchase.Duplicates = duplicates
	if len(purchase.Duplicates) == 0 {
		return nil
	}
	return &DuplicateError{RequestID: a.requestID, Duplicates: purchase.Duplicates, IdempotencyKey: a.idempotencyKey}
}

// report reports to the observers, once, even if Settle is called again.
func (a *Approval) report(o *outcome, err error) {
	if a.finish == nil {
		return
	}
	end := a.finish
	a.finish = nil
	observed := a.authorization.newObservation(err)
	observed.Status, observed.Category = o.params.status(), a.category
	if o.doubt != nil {
		observed.Status = StatusApproved
	}
	if !o.params.ActualAmount.IsZero() {
		observed.Amount = o.params.ActualAmount
	}
	end(observed)
}

// recordOutcome writes the outcome to the journal before it is confirmed. The confirmation is sent even if that fails.
func (a *Approval) recordOutcome(ctx context.Context, params ConfirmParams) error {
	a.mu.Lock()
	setOutcome(&a.authorization.record.entry, params)
	a.authorization.record.entry.Result, a.authorization.record.entry.Error = a.result, a.failure
	a.mu.Unlock()
	return a.authorization.record.put(ctx, journal.Returned)
}

// recordFailure keeps the text of the function's error for the journal.
func (a *Approval) recordFailure(err error) {
	if a.authorization.config.journal == nil {
		return
	}
	text := userErrorText(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = text
}
