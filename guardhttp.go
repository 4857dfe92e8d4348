package letagentpay

import (
	"log/slog"
	"net/http"
)

// priceOf asks what a request costs.
func priceOf(
	what string, c *Client, of func(*http.Request) (*PurchaseParams, error), request *http.Request,
) (*PurchaseParams, error) {
	switch {
	case c == nil:
		return nil, paramError(what+".Client", "", "want a client, not nil")
	case of == nil:
		return nil, paramError(what+".Price", "", "want a function, not nil")
	}
	return of(request)
}

// unconfirmed reports a confirmation that did not get through to tell, or to the log when tell is nil or does not
// return.
func (c *Client) reportUnconfirmed(request *http.Request, approval *Approval, err error, tell func(*http.Request, error)) {
	if err == nil {
		return
	}
	told := false
	defer func() {
		if told {
			return
		}
		_ = recover() // tell's panic; one that was under way before is out of reach here, and continues
		c.alert(request.Context(), "letagentpay.unconfirmed",
			slog.String("request_id", approval.RequestID()), slog.String("error", textOfUsers(err)))
	}()
	if tell != nil {
		tell(request, err)
		told = true
	}
}
