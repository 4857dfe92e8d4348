package letagentpay

import (
	"log/slog"
	"net/http"
)

// priceOf returns what a request costs. guard names the type whose fields it checks.
func priceOf(
	guard string, c *Client, price func(*http.Request) (*PurchaseParams, error), request *http.Request,
) (*PurchaseParams, error) {
	switch {
	case c == nil:
		return nil, paramError(guard+".Client", "", "want a client, not nil")
	case price == nil:
		return nil, paramError(guard+".Price", "", "want a function, not nil")
	}
	return price(request)
}

// reportUnconfirmed passes a failed confirmation to report. It logs the error instead if report is nil or does not
// return.
func (c *Client) reportUnconfirmed(
	request *http.Request, approval *Approval, err error, report func(*http.Request, error),
) {
	if err == nil {
		return
	}
	reported := false
	defer func() {
		if reported {
			return
		}
		_ = recover() // of report; recover does not stop an earlier panic, which continues
		c.alert(request.Context(), "letagentpay.unconfirmed",
			slog.String("request_id", approval.RequestID()), slog.String("error", userErrorText(err)))
	}()
	if report != nil {
		report(request, err)
		reported = true
	}
}
