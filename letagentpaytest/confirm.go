package letagentpaytest

import (
	"net/http"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/money"
)

type confirmBody struct {
	success bool
	actual  *decimal
	receipt *string
}

func parseConfirm(body payload) (confirmBody, *answer) {
	var b confirmBody
	f := newForm(body)
	if f.broken() {
		return b, f.refusal()
	}
	b.success = f.flag("success")
	if raw, ok := f.optional("actual_amount"); ok {
		if actual, ok := f.positive("actual_amount", raw, maxAmount); ok {
			b.actual = &actual
		}
	}
	b.receipt = f.optionalText("receipt_url", textRule{most: 2000})
	return b, f.refusal()
}

// confirm records the outcome of an approved purchase, and returns nil when Close has ended the call. The account is
// locked.
func (s *Server) confirm(c *call, id string, b confirmBody) *answer {
	a := c.agent
	r := a.requests[id]
	switch {
	case r == nil:
		return errorAnswer(http.StatusNotFound, "Request not found")
	case !r.status.Approved():
		return errorAnswer(http.StatusBadRequest, "Cannot confirm request with status '"+string(r.status)+"'")
	}
	if !c.work(func(r *Races) time.Duration { return r.Confirm }) {
		return nil
	}
	if b.receipt != nil {
		r.receipt = b.receipt
	}
	if !b.success {
		r.status = letagentpay.StatusFailed
		a.refund(r.amount, r.currency, c)
		return jsonAnswer(http.StatusOK, r.confirmation(nil))
	}
	r.status = letagentpay.StatusCompleted
	if b.actual != nil {
		a.spend(b.actual.minus(r.amount), r.currency, c.now)
		r.actual = b.actual.amount().Round()
	}
	return jsonAnswer(http.StatusOK, r.confirmation(b.actual))
}

// refund takes a failed purchase out of what was spent. The balances stop at zero; the periods do not, because the
// purchase may have been counted on an earlier day.
func (a *agent) refund(amount money.Amount, currency string, c *call) {
	a.spent = floorZero(a.spent.Sub(amount))
	a.account.spent = floorZero(a.account.spent.Sub(amount))
	for _, t := range a.periods(currency, c.now) {
		t.spent = t.spent.Sub(amount)
	}
}
