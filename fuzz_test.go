package letagentpay_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/letagentpay/letagentpay-go"
)

// fixed gives every request the same answer.
type fixed struct {
	status      int
	contentType string
	retryAfter  string
	body        string
}

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": {f.contentType}, "Retry-After": {f.retryAfter}}
	return &http.Response{
		StatusCode:    f.status,
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(f.body)),
		ContentLength: -1,
		Request:       r,
	}, nil
}

const tokenPrefix = "agt_"

// FuzzAnswers feeds answers of every kind to every call: each returns a consistent result or a typed error.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		autoApproved, pendingAnswer, rejectedAnswer, confirmed, detail("approved"), someBudget,
		`{"policy":{"daily_limit":"1e2","schedule":{"default":{"allow":"09:00-18:00"}}}}`,
		`{"categories":["a"]}`, `{"requests":[` + item("r1", "2026-03-11T12:00:00") + `],"total":1}`,
		`{"detail":"Agent is paused"}`, `{"detail":[{"type":"missing","loc":["body",0],"msg":"m"}]}`,
		`{"authorized":true,"authorization_id":"a"}`, `{"authorized":false,"reason":"BUDGET_EXCEEDED"}`,
		`[{"wallet_address":"0x","chain":"base","created_at":"2026-03-11T12:00:00Z"}]`,
		`{"detail":"agt_secret-of-this-test\n\u202e"}`, `{"request_id":"r1","Request_ID":"r2"}`,
		`{"authorized":false,"AUTHORIZED":true,"authorization_id":"a"}`,
		`null`, `[]`, ``, `<html>`, `{"request_id":null}`,
	} {
		for _, status := range []int{200, 201, 204, 302, 400, 422, 429, 500} {
			f.Add(status, "application/json", "", body)
		}
	}
	f.Add(256, "", "", `{"request_id":"0","status":"0","currency":"0","category":"0",`+
		`"policy_check":{"passed":true,"checks":[]},"auto_approved":true}`)
	f.Add(503, "text/html; charset=\"", "Fri, 31 Dec 1999 23:59:59 GMT", "x")
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter, body string) {
		if status < 200 || status > 999 {
			return // not an answer that net/http delivers
		}
		client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(testBase),
			letagentpay.WithMaxRetries(0),
			letagentpay.WithHTTPClient(&http.Client{Transport: fixed{status, contentType, retryAfter, body}}))
		if err != nil {
			t.Fatal(err)
		}
		check := func(op string, err error) {
			if err == nil {
				if status/100 != 2 {
					t.Fatalf("%s: status %d became a success", op, status)
				}
				return
			}
			var failure *letagentpay.APIError
			if !errors.As(err, &failure) || failure.StatusCode != status || failure.Op == "" {
				t.Fatalf("%s: status %d became %#v", op, status, err)
			}
			if strings.Contains(strings.ToLower(err.Error()), tokenPrefix) {
				t.Fatalf("%s: the error contains a token", op)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool {
				return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
			}) || len(err.Error()) > 40_000 {
				t.Fatalf("%s: the error is not one short line: %q", op, err)
			}
		}
		purchase, err := client.Purchase(t.Context(), groceries())
		check("purchase", err)
		if err == nil && (purchase.RequestID == "" || purchase.Status == "" || purchase.Currency == "" ||
			purchase.Category == "") {
			t.Fatalf("an incomplete purchase: %+v", purchase)
		}
		if err == nil && purchase.Status.Approved() &&
			(!purchase.PolicyCheck.Passed || len(purchase.PolicyCheck.Failed()) > 0 ||
				purchase.AutoApproved != (purchase.Status == letagentpay.StatusAutoApproved)) {
			t.Fatalf("an approval that contradicts itself: %+v", purchase)
		}
		request, err := client.Request(t.Context(), "r1")
		check("request", err)
		if err == nil && (request.RequestID == "" || request.Status == "") {
			t.Fatalf("an incomplete request: %+v", request)
		}
		_, err = client.Budget(t.Context())
		check("budget", err)
		_, err = client.Policy(t.Context())
		check("policy", err)
		_, err = client.Categories(t.Context())
		check("categories", err)
		authorization, err := client.X402.Authorize(t.Context(), weather("5"))
		check("x402 authorize", err)
		if err == nil && authorization.Authorized != (authorization.AuthorizationID != "") {
			t.Fatalf("an authorisation without an id: %+v", authorization)
		}
		_, err = client.X402.Budget(t.Context())
		check("x402 budget", err)
		_, err = client.X402.Wallets(t.Context())
		check("x402 wallets", err)
		for _, err := range client.Requests(t.Context(), letagentpay.ListParams{PageSize: 100}) {
			check("requests", err)
		}
	})
}
