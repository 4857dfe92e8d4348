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

// judge holds what a call came back with against the truth.
func (w *world) judge(c *guardedCall, a *answered, p letagentpay.PurchaseParams) {
	text := textOf(a.err)
	w.note("result %q, error %s", a.result, text)
	if strings.Contains(text, w.server.Token) {
		w.violated("an error tells the token")
	}
	w.documented(a.err, a.run)
	w.hearError(a.attempt.process, a.err, a.attempt.resumed)
	w.honest(c, a)
	confirm, unconfirmed := errors.AsType[*letagentpay.UnconfirmedError](a.err)
	if r := a.run; r != nil {
		w.judgeRun(a, r, confirm)
	} else if a.err == nil {
		w.replayed(a, p)
	}
	if t := a.attempt.turn; t != nil && a.err == nil {
		t.bought[a.attempt.subject]++
	}
	// A failure confirmation rests for a while after one that may still be handled, such as one of a dead process.
	resting := unconfirmed && !confirm.Params.Success && (a.run == nil || time.Since(w.calmSince) < 3*time.Minute)
	if w.calm && unconfirmed && !confirm.MayHaveSpent && !resting {
		w.violated("a confirmation did not get through although nothing was wrong") // not even a cancelled context
	}
	if w.calm && c.interrupted.kind == "" && !resting {
		w.smooth(c, a)
	}
	if c.key == randomKey || c.key == scopedKey {
		w.remember(w.place(a.attempt.process.slot, a.attempt.journaled), a.err, p)
	}
}

// judgeRun is about a call whose function ran.
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
		w.violated("run %d may have paid, and its call does not say so", r.number)
	case confirm == nil:
		return
	case confirm.MayHaveSpent != r.doubtful:
		w.violated("the error of run %d is mistaken in whether it may have paid", r.number)
	case r.doubtful && !request.Status.Approved():
		w.violated("run %d may have paid, and %s is %s", r.number, w.name(r.requestID), request.Status)
	case confirm.RequestID != r.requestID || !r.doubtful && confirm.Params != r.truth:
		w.violated("the error of run %d tells another truth to confirm", r.number)
	}
	r.confirm = confirm
}

// textOf is what an error says, whatever becomes of its Error method.
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

// remember keeps the key that an error gives, to ask again under it.
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

// replayed checks a success without a run: the journal's.
func (w *world) replayed(a *answered, p letagentpay.PurchaseParams) {
	for _, r := range w.runs {
		if t := a.attempt.turn; t != nil && r.turn == t && t.run && a.attempt.subject.ref == "" && r.succeeded {
			continue // in one run, what is identical after a success is another purchase
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

// parts calls do with each error of the library's in a tree of errors, and reports false when there is another.
func parts(err error, do func(error)) (all bool) {
	switch err.(type) { // the types themselves are looked at
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

// documented checks that an error is of the types that Guard names, and of those that say that nothing ran, that
// nothing has.
func (w *world) documented(err error, r *run) {
	if err == nil {
		return
	}
	ran := r != nil
	known := parts(err, func(err error) {
		switch e := err.(type) {
		// of a run, of the journal's replay of one, or of what could not be given back
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

// holds reports whether all parts of err that are not the library's are own, or parts of it.
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

// tell notes that somebody knows of a request or a key.
func (w *world) tell(idOrKey string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[idOrKey] = true
}

// tellResumable notes that somebody knows which request a purchase has led to.
func (w *world) tellResumable(id string) {
	w.tell(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resumable[id] = true
}

// hearError notes whom an error tells of.
func (w *world) hearError(p *process, err error, resumed bool) {
	_, notGivenBack := errors.AsType[*letagentpay.UnconfirmedError](err)
	notGivenBack = notGivenBack || resumed // whose id is in the caller's hands
	parts(err, func(err error) {
		switch e := err.(type) {
		case *letagentpay.UnconfirmedError:
			w.tellResumable(e.RequestID)
			if !e.Params.Success { // it was on its way
				w.mu.Lock()
				w.givenBack[e.RequestID] = true
				w.mu.Unlock()
			}
			w.hearError(p, e.Err, resumed)
		case *letagentpay.DuplicateError:
			for _, id := range e.Duplicates {
				w.callDuplicate(p, id, e.RequestID)
			}
		case *letagentpay.JournalError:
			if e.State == stateStarted && !notGivenBack {
				w.hearGivenBack(e.IdempotencyKey)
			} else {
				w.tell(e.RequestID)
			}
		case *letagentpay.NotApprovedError:
			if e.Status == letagentpay.StatusPending {
				w.tellResumable(e.RequestID)
			}
		case *letagentpay.MismatchError:
			w.tell(e.RequestID)
		case *letagentpay.AlreadyHandledError:
			w.tellResumable(e.Request.RequestID)
		case *letagentpay.OutcomeUnknownError:
			w.tell(e.IdempotencyKey)
			w.tell(e.RequestID)
			for _, id := range e.Found {
				w.tell(id)
			}
		case *letagentpay.APIError:
			if strings.Contains(e.Error(), "not run and refunded") && !notGivenBack {
				w.hearGivenBack(e.IdempotencyKey)
			}
		}
	})
}

// hearGivenBack checks that a purchase that is said to be given back is.
func (w *world) hearGivenBack(key string) {
	w.mu.Lock()
	w.givenBack[key] = true
	w.mu.Unlock()
	for _, r := range w.server.Requests() {
		if r.IdempotencyKey == key && r.Status == letagentpay.StatusFailed {
			return
		}
	}
	w.violated("a purchase is said to be given back and is not")
}

// honest checks that what an error says of a request is so.
func (w *world) honest(c *guardedCall, a *answered) {
	is := func(id string, want letagentpay.Status) {
		request, found := w.server.Request(id)
		if !found {
			w.violated("an error speaks of an unknown request")
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
		w.honestlyHandled(c, a, e)
	}
	unknown, ok := errors.AsType[*letagentpay.OutcomeUnknownError](a.err)
	if ok && unknown.Op == "purchase" && unknown.IdempotencyKey == "" {
		w.violated("nothing tells how to find out what became of a purchase")
	}
	confirm, ok := errors.AsType[*letagentpay.UnconfirmedError](a.err)
	if ok && confirm.Params.Success && len(w.runsOf(confirm.RequestID)) == 0 {
		w.violated("%s did not run and is to be confirmed", w.name(confirm.RequestID))
	}
}

func (w *world) honestlyHandled(c *guardedCall, a *answered, e *letagentpay.AlreadyHandledError) {
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
		w.violated("%s, which has failed, keeps a scope from buying", w.name(id))
	}
}

// smooth checks a call that nothing has interfered with.
func (w *world) smooth(c *guardedCall, a *answered) {
	if errors.Is(a.err, letagentpay.ErrRateLimited) {
		return // many attempts, with little time between
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

// idOf is the request that an error is about.
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

// modelError is an error type of a function's.
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

// misbehave is what functions do that are at odds with themselves.
func (c *guardedCall) misbehave(approval *letagentpay.Approval, r *run) error {
	switch c.fn {
	case timesOut:
		r.doubtful = true
		return context.DeadlineExceeded
	case paysAndTimesOut:
		r.doubtful, r.truth.Success = true, true
		return fmt.Errorf("the shop: %w", context.DeadlineExceeded)
	case surelyNotPaid:
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
