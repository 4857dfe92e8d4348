package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go"
)

// handmade makes a purchase by hand, under a key that guarded calls use too. Its maker spends only if it is new.
type handmade struct {
	call    *guardedCall // gives the key, the content and the maker
	outcome string
}

const (
	handSpends = "spends it"
	handSpares = "spends nothing and reports it"
	handLeaves = "leaves it"
)

func (h *handmade) String() string {
	text := h.call.String()
	text = text[:strings.Index(text, "; the function")]
	return fmt.Sprintf("by hand: %s; its maker %s%s", text, h.outcome, h.call.interrupted)
}

func (h *handmade) play(w *world) {
	s := w.slots[0]
	if h.call.other {
		s = w.slots[1]
	}
	w.await(h.call, s)
	ctx, params, t, ok := h.call.params(w, s)
	if !ok {
		return
	}
	a := h.call.attempt(s.process, ctx, t, params)
	a.byHand, a.journaled, a.interrupted = true, false, h.call.interrupted
	w.disturbed = w.disturbed || a.interrupted.kind != ""
	w.calls++
	if t != nil {
		t.width[a.subject] = max(t.width[a.subject], 1)
	}
	var purchase *letagentpay.Purchase
	var err error
	var made *run
	o := w.run(player{attempt: a, do: func(ctx context.Context) func() {
		client := a.process.client(h.call.client)
		answer, failure := client.Purchase(ctx, params)
		var run *run
		if failure == nil {
			run = h.spend(ctx, w, a, client, answer, params)
		}
		return func() { purchase, err, made = answer, failure, run }
	}})[0]
	switch {
	case o.died:
		w.note("by hand: the process has died")
	case !o.returned:
		w.violated("a purchase by hand did not return, or panicked with %v", o.panicked)
	case err != nil:
		w.note("by hand: error %s", textOf(err))
		w.recordError(a.process, err, false)
		w.documented(err, nil)
		if h.call.key == randomKey || h.call.key == scopedKey {
			w.remember(w.place(s, !h.call.unjournaled), err, params)
		}
	default:
		w.judgeHandmade(a, purchase, made)
	}
}

// spend uses a new approval, or confirms that it was not used.
func (h *handmade) spend(
	ctx context.Context, w *world, a *attempt, client *letagentpay.Client, purchase *letagentpay.Purchase,
	params letagentpay.PurchaseParams,
) (made *run) {
	w.mu.Lock()
	own := w.creators[purchase.RequestID] == a
	w.mu.Unlock()
	if h.outcome == handLeaves || !own || !purchase.Status.Approved() {
		return nil
	}
	if !a.process.event(a, func() {
		made = w.begin(a, purchase.RequestID, params)
		made.truth.Success, made.failed, made.byHand = h.outcome == handSpends, false, true
		w.note("run %d, under %s: by hand", made.number, w.name(made.requestID))
	}) {
		return nil
	}
	if _, err := client.Confirm(ctx, made.requestID, made.truth); err != nil {
		made.confirm = &letagentpay.UnconfirmedError{RequestID: made.requestID, Params: made.truth, Err: err}
	}
	return made
}

func (w *world) judgeHandmade(a *attempt, purchase *letagentpay.Purchase, made *run) {
	w.note("by hand: %s is %s, confirmed: %t",
		w.name(purchase.RequestID), purchase.Status, made != nil && made.confirm == nil)
	w.report(purchase.RequestID)
	for _, id := range purchase.Duplicates {
		w.recordDuplicate(a.process, id, purchase.RequestID)
	}
	if purchase.Status.Approved() && a.turn != nil {
		a.turn.bought[a.subject]++
	}
	switch {
	case made == nil:
	case made.confirm == nil:
		w.confirmed(made)
	case w.calm && a.interrupted.kind == "" && !errors.Is(made.confirm.Err, context.Canceled):
		w.violated("a confirmation failed although nothing was wrong")
	}
}

func (p *palette) handmade(t *rapid.T) step {
	c := p.call(t).(*guardedCall)
	c.twoPhase, c.twice, c.redelivered, c.repeated, c.unconfirmed = false, false, false, false, false
	c.fn, c.codec = succeeds, ""
	c.unjournaled = true
	if c.key == resumedKey {
		c.key = ownKey
	}
	return &handmade{c, rapid.SampledFrom([]string{handSpends, handSpares, handLeaves}).Draw(t, "outcome")}
}
