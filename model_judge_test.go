package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

// judge compares what a call returned with what happened.
func (w *world) judge(c *guardedCall, a *answered, p letagentpay.PurchaseParams) {
	text := textOf(a.err)
	w.note("result %q, error %s", a.result, text)
	if strings.Contains(text, w.server.Token) {
		w.violated("an error contains the token")
	}
	w.documented(a.err, a.run)
	w.recordError(a.attempt.process, a.err, a.attempt.resumed)
	w.checkStatements(c, a)
	confirm, unconfirmed := errors.AsType[*letagentpay.UnconfirmedError](a.err)
	if r := a.run; r != nil {
		w.judgeRun(a, r, confirm)
	} else if a.err == nil {
		w.replayed(a, p)
	}
	if t := a.attempt.turn; t != nil && a.err == nil {
		t.bought[a.attempt.subject]++
	}
	// A failure confirmation has a cooldown after one that may still be handled, such as one of a dead process.
	cooling := unconfirmed && !confirm.Params.Success && (a.run == nil || time.Since(w.calmSince) < 3*time.Minute)
	if w.calm && unconfirmed && !confirm.MayHaveSpent && !cooling {
		w.violated("a confirmation failed although nothing was wrong") // not even a cancelled context
	}
	if w.calm && c.interrupted.kind == "" && !cooling {
		w.checkUndisturbed(c, a)
	}
	if c.key == randomKey || c.key == scopedKey {
		w.remember(w.place(a.attempt.process.slot, a.attempt.journaled), a.err, p)
	}
}

// judgeRun checks what a call returned whose function ran.
func (w *world) judgeRun(a *answered, r *run, confirm *letagentpay.UnconfirmedError) {
	if !r.failed && a.result != "receipt "+strconv.Itoa(r.number) {
		w.violated("run %d's result was lost", r.number)
	}
	r.succeeded = a.err == nil
	if r.failed && a.err == nil {
		w.violated("run %d failed and its call did not", r.number)
	}
	request, _ := w.server.Request(r.requestID)
	switch {
	case confirm == nil && r.doubtful:
		w.violated("run %d may have paid, and its call does not report it", r.number)
	case confirm == nil:
		return
	case confirm.MayHaveSpent != r.doubtful:
		w.violated("the error of run %d is wrong about whether it may have paid", r.number)
	case r.doubtful && !request.Status.Approved():
		w.violated("run %d may have paid, and %s is %s", r.number, w.name(r.requestID), request.Status)
	case confirm.RequestID != r.requestID || !r.doubtful && confirm.Params != r.truth:
		w.violated("the error of run %d names another outcome to confirm", r.number)
	}
	r.confirm = confirm
}

// textOf returns the text of an error, even if its Error method does not return.
func textOf(err error) (text string) {
	text = "an error whose text is not available"
	done := make(chan struct{})
	go func() {
		defer close(done)
		text = fmt.Sprint(err)
	}()
	<-done
	return text
}

// remember keeps the key that an error names, so that a later call can use it.
func (w *world) remember(place string, err error, p letagentpay.PurchaseParams) {
	if pending, ok := notApproved(err, letagentpay.StatusPending); ok {
		p.IdempotencyKey = pending.IdempotencyKey
	}
	if unknown, ok := errors.AsType[*letagentpay.OutcomeUnknownError](err); ok && unknown.Op == "purchase" {
		p.IdempotencyKey = unknown.IdempotencyKey
	}
	if p.IdempotencyKey != "" {
		p.Ref = ""
		w.keys = append(w.keys, knownPurchase{p, place})
	}
}

// replayed checks a success without a run, which only the journal can give.
func (w *world) replayed(a *answered, p letagentpay.PurchaseParams) {
	for _, r := range w.runs {
		if t := a.attempt.turn; t != nil && r.turn == t && t.run && a.attempt.subject.ref == "" && r.succeeded {
			continue // after a success, an identical call in the same run is another purchase
		}
		same := a.attempt.subject.ref != "" && r.of == a.attempt.subject ||
			subjectOf("", withoutRef(p)) == subjectOf("", withoutRef(r.params))
		if a.attempt.journaled && same && !r.failed && a.result == "receipt "+strconv.Itoa(r.number) {
			w.confirmed(r)
			return
		}
	}
	w.violated("a call succeeded, and nothing has run")
}

func withoutRef(p letagentpay.PurchaseParams) letagentpay.PurchaseParams {
	p.Ref = ""
	return p
}

// parts calls do with each of the library's errors in a tree of errors. It reports whether there are no others.
func parts(err error, do func(error)) (all bool) {
	switch err.(type) { // the types themselves, without unwrapping
	case *letagentpay.UnconfirmedError, *letagentpay.OverspendError, *letagentpay.DuplicateError,
		*letagentpay.JournalError, *letagentpay.NotApprovedError, *letagentpay.MismatchError,
		*letagentpay.AlreadyHandledError, *letagentpay.OutcomeUnknownError, *letagentpay.APIError,
		*letagentpay.ParamError:
		do(err)
		return true
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	all = true
	for _, part := range joined.Unwrap() {
		all = parts(part, do) && all
	}
	return all
}

// documented checks that an error is of the types that Guard names, and that nothing ran if its type says so.
func (w *world) documented(err error, r *run) {
	if err == nil {
		return
	}
	ran := r != nil
	known := parts(err, func(err error) {
		switch e := err.(type) {
		// of a run, of its replay from the journal, or of a failed refund
		case *letagentpay.UnconfirmedError:
		case *letagentpay.OverspendError, *letagentpay.DuplicateError:
		case *letagentpay.JournalError:
			if late := e.State == stateReturned || e.State == stateSettled; ran && !late {
				w.violated("a run comes with an error that says it did not run: %T", err)
			}
		case *letagentpay.ParamError:
			if !ran {
				w.violated("a sound call is refused: %v", err)
			}
		default:
			if ran {
				w.violated("a run comes with an error that says it did not run: %T", err)
			}
		}
	})
	if !known && (!ran || !holds(err, r.err)) {
		w.violated("an undocumented error: %T", err)
	}
}

// holds reports whether each part of err is the library's, or own, or a part of own.
func holds(err, own error) bool {
	if same(err, own) {
		return true
	}
	if parts(err, func(error) {}) {
		return true
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		outer, ok := own.(interface{ Unwrap() []error })
		if ok {
			for _, part := range outer.Unwrap() {
				if same(err, part) {
					return true
				}
			}
		}
		return same(err, errPanic)
	}
	for _, part := range joined.Unwrap() {
		if !holds(part, own) {
			return false
		}
	}
	return true
}

func same(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// report records that a request or a key was reported to the agent.
func (w *world) report(idOrKey string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reported[idOrKey] = true
}

// reportResumable records that the agent knows which request a purchase led to.
func (w *world) reportResumable(id string) {
	w.report(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resumable[id] = true
}

// recordError records the requests and keys that an error names.
func (w *world) recordError(p *process, err error, resumed bool) {
	_, notRefunded := errors.AsType[*letagentpay.UnconfirmedError](err)
	notRefunded = notRefunded || resumed // whose id the caller knows
	parts(err, func(err error) {
		switch e := err.(type) {
		case *letagentpay.UnconfirmedError:
			w.reportResumable(e.RequestID)
			if !e.Params.Success { // its refund was under way
				w.mu.Lock()
				w.refunded[e.RequestID] = true
				w.mu.Unlock()
			}
			w.recordError(p, e.Err, resumed)
		case *letagentpay.DuplicateError:
			for _, id := range e.Duplicates {
				w.recordDuplicate(p, id, e.RequestID)
			}
		case *letagentpay.JournalError:
			if e.State == stateStarted && !notRefunded {
				w.checkRefunded(e.IdempotencyKey)
			} else {
				w.report(e.RequestID)
			}
		case *letagentpay.NotApprovedError:
			if e.Status == letagentpay.StatusPending {
				w.reportResumable(e.RequestID)
			}
		case *letagentpay.MismatchError:
			w.report(e.RequestID)
		case *letagentpay.AlreadyHandledError:
			w.reportResumable(e.Request.RequestID)
		case *letagentpay.OutcomeUnknownError:
			w.report(e.IdempotencyKey)
			w.report(e.RequestID)
			for _, id := range e.Found {
				w.report(id)
			}
		case *letagentpay.APIError:
			if strings.Contains(e.Error(), "not run and refunded") && !notRefunded {
				w.checkRefunded(e.IdempotencyKey)
			}
		}
	})
}

// checkRefunded checks that a purchase was refunded, as reported.
func (w *world) checkRefunded(key string) {
	w.mu.Lock()
	w.refunded[key] = true
	w.mu.Unlock()
	for _, r := range w.server.Requests() {
		if r.IdempotencyKey == key && r.Status == letagentpay.StatusFailed {
			return
		}
	}
	w.violated("a purchase is reported as refunded and is not")
}

// checkStatements checks what an error says about requests.
func (w *world) checkStatements(c *guardedCall, a *answered) {
	is := func(id string, want letagentpay.Status) {
		request, found := w.server.Request(id)
		if !found {
			w.violated("an error names an unknown request")
		} else if want != "" && request.Status != want {
			w.violated("an error says that %s is %s, and it is %s", w.name(id), want, request.Status)
		}
	}
	if e, ok := notApproved(a.err, letagentpay.StatusRejected); ok {
		is(e.RequestID, letagentpay.StatusRejected)
	}
	if e, ok := notApproved(a.err, letagentpay.StatusExpired); ok {
		is(e.RequestID, letagentpay.StatusExpired)
	}
	if e, ok := notApproved(a.err, letagentpay.StatusPending); ok {
		is(e.RequestID, "")
	}
	if e, ok := errors.AsType[*letagentpay.AlreadyHandledError](a.err); ok {
		is(e.Request.RequestID, "")
		w.checkHandled(c, a, e)
	}
	unknown, ok := errors.AsType[*letagentpay.OutcomeUnknownError](a.err)
	if ok && unknown.Op == "purchase" && unknown.IdempotencyKey == "" {
		w.violated("an error gives no key to find out what became of a purchase")
	}
	confirm, ok := errors.AsType[*letagentpay.UnconfirmedError](a.err)
	if ok && confirm.Params.Success && len(w.runsOf(confirm.RequestID)) == 0 {
		w.violated("%s did not run, and an error asks to confirm it", w.name(confirm.RequestID))
	}
}

func (w *world) checkHandled(c *guardedCall, a *answered, e *letagentpay.AlreadyHandledError) {
	id := e.Request.RequestID
	runs := w.runsOf(id)
	t := a.attempt.turn
	if t != nil && t.run && a.attempt.subject.ref == "" {
		for _, r := range runs {
			if r.turn == t && r.succeeded {
				w.violated("a turn's second purchase is taken for its first")
			}
		}
	}
	request, _ := w.server.Request(id)
	_, unconfirmed := errors.AsType[*letagentpay.UnconfirmedError](a.err)
	if e.Request.Status.Final() && request.Status != e.Request.Status && !unconfirmed && !c.twoPhase {
		w.violated("an error says that %s was %s, and it is %s", w.name(id), e.Request.Status, request.Status)
	}
	if e.Request.Status.Approved() && !e.MayHaveRun && len(runs) > 0 {
		w.violated("an error says that %s has not run", w.name(id))
	}
	if t != nil && w.calm && request.Status == letagentpay.StatusFailed && !c.twice && !c.redelivered {
		w.violated("%s, which has failed, blocks purchases of its scope", w.name(id))
	}
}

// checkUndisturbed checks a call that nothing has interfered with.
func (w *world) checkUndisturbed(c *guardedCall, a *answered) {
	if errors.Is(a.err, letagentpay.ErrRateLimited) {
		return // many attempts in little time
	}
	if errors.Is(a.err, letagentpay.ErrInProgress) && (c.twice || c.redelivered || c.beside) {
		return
	}
	_, refused := errors.AsType[*letagentpay.APIError](a.err)
	_, unknown := errors.AsType[*letagentpay.OutcomeUnknownError](a.err)
	_, disk := errors.AsType[*letagentpay.JournalError](a.err)
	_, duplicate := errors.AsType[*letagentpay.DuplicateError](a.err)
	duplicate = duplicate && !w.disturbed && !w.forgets // a key that the service has forgotten leads to another request
	if own := a.run != nil && a.run.doubtful; (refused || unknown || disk || duplicate) && !own {
		w.violated("a call failed although nothing was wrong: %T", a.err)
	}
	_, handled := errors.AsType[*letagentpay.AlreadyHandledError](a.err)
	_, mismatch := errors.AsType[*letagentpay.MismatchError](a.err)
	if c.key == randomKey && (handled || mismatch) {
		w.violated("a new purchase is taken for another: %T", a.err)
	}
	if a.attempt.resumed && a.run == nil && a.err == nil && !a.attempt.journaled {
		w.violated("a resumed purchase did not run")
	}
}

// idOf returns the id of the request that an error is about.
func idOf(err error) string {
	if rejected, ok := notApproved(err, letagentpay.StatusRejected); ok {
		return rejected.RequestID
	}
	if handled, ok := errors.AsType[*letagentpay.AlreadyHandledError](err); ok {
		return handled.Request.RequestID
	}
	return ""
}

func onlyDuplicates(err error) bool {
	_, ok := err.(*letagentpay.DuplicateError)
	return ok
}

// modelError is an error type of a guarded function.
type modelError struct{ mishap string }

func (e *modelError) Error() string {
	switch e.mishap { // panics when e is nil
	case callPanics:
		panic("no text")
	case callExits:
		runtime.Goexit()
	case callIsSlow:
		time.Sleep(11 * time.Second)
	}
	return "the shop is closed"
}

// misbehave carries out the behaviours whose results contradict each other.
func (c *guardedCall) misbehave(approval *letagentpay.Approval, r *run) error {
	switch c.fn {
	case timesOut:
		r.doubtful = true
		return context.DeadlineExceeded
	case paysAndTimesOut:
		r.doubtful, r.truth.Success = true, true
		return fmt.Errorf("the shop: %w", context.DeadlineExceeded)
	case certainlyNotPaid:
		return letagentpay.NotPaid(context.DeadlineExceeded)
	case returnsTypedNil:
		r.doubtful, r.truth.Success = true, true
		return (*modelError)(nil)
	case errorPanics:
		return &modelError{callPanics}
	case errorIsSlow:
		return &modelError{callIsSlow}
	case spendsErrorExits:
		r.truth = letagentpay.ConfirmParams{Success: true, ActualAmount: letagentpay.MustAmount("15")}
		_ = approval.Spent(r.truth.ActualAmount, "")
		return &modelError{callExits}
	}
	return nil
}
