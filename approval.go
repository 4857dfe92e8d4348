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
	settleLimit  = 10 * time.Second // how long a confirmation is tried for, whatever becomes of the caller's context
	attemptLimit = 3 * time.Second  // of its attempts, so that one that hangs leaves time for others
)

// Approval is the permission to spend up to an amount once, as [Client.Authorize] gives it. It ends with
// [Approval.Settle]. It is safe for concurrent use.
type Approval struct {
	client         *Client
	requestID      string
	amount         Amount
	category       string
	idempotencyKey string
	settling       chan struct{}  // holds a value while a Settle is under way
	authorization  *authorization // whoever has the turn writes its record
	scoped         *scopedPurchase
	resumption     *resumption
	callContext    context.Context
	finish         func(Observation) // reports to the observers; nil when that is done

	mu               sync.Mutex
	spent            *ConfirmParams // what Spent recorded
	outcome          *outcome       // what the first Settle decided
	mayHaveConfirmed bool           // an earlier confirmation may have got through
	settled          bool
	result           []byte // what the guarded function returned, for the journal
	failure          string // the text of its error
}

// outcome is how a guarded purchase ended.
type outcome struct {
	params ConfirmParams
	doubt  error // the function's error, when it can hide a payment
}

// text says what was confirmed.
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

// Category returns the category that the purchase was approved under, as the service resolved it.
func (a *Approval) Category() string { return a.category }

// IdempotencyKey returns the key that the purchase was sent under; empty for a resumed purchase.
func (a *Approval) IdempotencyKey() string { return a.idempotencyKey }

// context returns the context for the guarded function: that of the call, with the approval and what observers have
// added, and without the id that this call resumed.
func (a *Approval) context() context.Context {
	return withoutResumption(context.WithValue(a.callContext, approvalKey{}, a))
}

var leastAmount, maxAmount = MustAmount("0.01"), MustAmount("9999999")

// Spent records what was really paid, and with it that the money is gone: [Approval.Settle] then confirms this
// purchase as completed even when the function failed afterwards. The last valid call counts. Fractions of a cent are
// rounded, halves away from zero, as the service does, but never to nothing; what is beyond 9,999,999, the most that the
// service accepts, is confirmed as that.
//
// More than the approved amount is recorded as well, because it is the truth, and reported as an
// [*OverspendError]. An amount that is not positive is a [*ParamError]; what an earlier call recorded stands,
// and without one the purchase counts as paid for the approved amount, because something was paid. A receipt URL beyond
// 2000 characters is a [*ParamError] and dropped. After Settle the error matches [ErrSettled], nothing is recorded, and
// the amount is reported to the client's logger, or to [slog.Default], because it can no longer be confirmed.
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
		return paramError("actual", actual.String(), "want an amount above zero; a function that paid nothing returns an error and does not call Spent")
	}
	rounded := maxAmount
	if actual.Less(maxAmount) {
		rounded = actual.Round()
	}
	if rounded.IsZero() {
		rounded = leastAmount
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

// Settle ends the approval and reports to the service how: with a nil err the purchase is completed, for the amount that
// [Approval.Spent] recorded or else the one approved. With an error it failed and the money returns to the budget, unless
// Spent was called: then it is completed for what was spent. An error that can hide a payment, see [MayHavePaid] and
// [OnError], leaves the money booked and nothing confirmed, and the result is an [*UnconfirmedError] with MayHaveSpent: find
// out, and confirm with [Client.Confirm].
//
// The confirmation does not depend on ctx being alive; it is tried for at most 10 seconds. When it does not get
// through, the error is an [*UnconfirmedError], and Settle may be called again. What the first call decided stands, whatever
// err later calls bring; after a success they return nil without doing anything. So Settle may be deferred.
func (a *Approval) Settle(ctx context.Context, err error) (settleErr error) {
	if a.authorization == nil {
		return paramError("Approval", "", "want one that Client.Authorize has given")
	}
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
	if settleErr == nil && err == nil {
		a.resumption.useUp(&a.authorization.params)
	}
	a.scoped = nil
	a.report(outcome, errors.Join(err, settleErr))
	return settleErr
}

// decide fixes how the purchase ended, the first time it is asked.
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

// leaveBooked is for a function whose error can hide a payment: nothing is confirmed.
func (a *Approval) leaveBooked(ctx context.Context, o *outcome, first bool) error {
	if first {
		a.authorization.record.entry.Error = textOfUsers(o.doubt)
		if err := a.authorization.record.put(ctx, journal.Started); err != nil {
			a.client.alertJournal(ctx, a.requestID, err)
		}
	}
	cause := o.doubt
	if isTypedNil(cause) {
		cause = errors.New(textOfUsers(cause)) // its own methods may panic
	}
	return withCleanup(&UnconfirmedError{RequestID: a.requestID, Params: o.params, MayHaveSpent: true, Err: cause}, a.findDuplicates(ctx))
}

// confirm reports the outcome to the service, and to the journal before and after it.
func (a *Approval) confirm(ctx context.Context, o *outcome) error {
	journalErr := a.recordOutcome(ctx, o.params)
	_, confirmErr := a.client.confirm(ctx, a.requestID, o.params, confirmOptions{mayHaveConfirmed: a.confirmationInDoubt(), attemptLimit: attemptLimit, totalLimit: settleLimit})
	duplicates := a.findDuplicates(ctx)
	if confirmErr != nil {
		if _, unknown := errors.AsType[*OutcomeUnknownError](confirmErr); unknown {
			a.mu.Lock()
			a.mayHaveConfirmed = true
			a.mu.Unlock()
		}
		return withCleanup(withCleanup(&UnconfirmedError{RequestID: a.requestID, Params: o.params, Err: confirmErr}, journalErr), duplicates)
	}
	a.mu.Lock()
	a.settled = true
	a.mu.Unlock()
	if a.authorization.purchase != nil {
		a.authorization.record.entry.Duplicates = a.authorization.purchase.Duplicates
	}
	if err := a.authorization.record.put(ctx, journal.Settled); err != nil { // all is well but for the record
		a.client.alertJournal(ctx, a.requestID, err)
	}
	return duplicates
}

func (a *Approval) confirmationInDoubt() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mayHaveConfirmed
}

// findDuplicates returns a [*DuplicateError] when the purchase has any. It looks once more, because an attempt at the purchase
// may have made its request late.
func (a *Approval) findDuplicates(ctx context.Context) error {
	purchase := a.authorization.purchase
	if purchase == nil {
		return nil
	}
	duplicates := slices.DeleteFunc(slices.Clone(purchase.Duplicates), func(id string) bool {
		return a.client.progress(id) != unknownHere // another call's, as has turned out
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

// report ends the observation, once, however many calls of Settle it takes.
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

// recordOutcome writes down how it ended before the service is told. The service is told in any case.
func (a *Approval) recordOutcome(ctx context.Context, params ConfirmParams) error {
	a.mu.Lock()
	setOutcome(&a.authorization.record.entry, params)
	a.authorization.record.entry.Result, a.authorization.record.entry.Error = a.result, a.failure
	a.mu.Unlock()
	return a.authorization.record.put(ctx, journal.Returned)
}

// recordFailure holds the text of the error that a purchase ended in, for the journal.
func (a *Approval) recordFailure(err error) {
	if a.authorization.config.journal == nil {
		return
	}
	text := textOfUsers(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = text
}
