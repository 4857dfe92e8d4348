package letagentpaytest

import (
	"net/http"
	"time"

	"github.com/letagentpay/letagentpay-go"
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
	b.receipt = f.optionalText("receipt_url", textRule{max: 2000})
	return b, f.refusal()
}

// confirm records the outcome of an approved purchase. It returns nil when Close has ended the call. The account is
// locked.
func (s *Server) confirm(x *exchange, b confirmBody) *answer {
	a := x.agent
	r := a.requests[x.id]
	switch {
	case r == nil:
		return errorAnswer(http.StatusNotFound, "Request not found")
	case !r.status.Approved():
		return errorAnswer(http.StatusBadRequest, "Cannot confirm request with status '"+string(r.status)+"'")
	}
	if !x.pauseBeforeCommit(func(races *Races) time.Duration { return races.Confirm }) {
		return nil
	}
	if b.receipt != nil {
		r.receipt = b.receipt
	}
	if !b.success {
		r.status = letagentpay.StatusFailed
		a.refund(r.amount, r.currency, x)
		return jsonAnswer(http.StatusOK, r.confirmation(nil))
	}
	r.status = letagentpay.StatusCompleted
	if b.actual != nil {
		a.spend(b.actual.minus(r.amount), r.currency, x.now)
		r.actual = b.actual.amount().Round()
	}
	return jsonAnswer(http.StatusOK, r.confirmation(b.actual))
}
