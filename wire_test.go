package letagentpay_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// everyCall makes every call that reads an answer. It returns the errors by operation.
func everyCall(t *testing.T, body string) map[string]error {
	client := newClient(t, fixed{200, "application/json", "", body}, letagentpay.WithMaxRetries(0))
	errs := make(map[string]error)
	_, errs["purchase"] = client.Purchase(t.Context(), groceries())
	_, errs["request"] = client.Request(t.Context(), "r1")
	for _, err := range client.Requests(t.Context(), letagentpay.ListParams{}) {
		errs["requests"] = err
	}
	_, errs["budget"] = client.Budget(t.Context())
	_, errs["policy"] = client.Policy(t.Context())
	_, errs["categories"] = client.Categories(t.Context())
	_, errs["x402 authorize"] = client.X402.Authorize(t.Context(), weather("1"))
	_, errs["x402 report"] = client.X402.Report(t.Context(), letagentpay.X402ReportParams{
		AuthorizationID: "a1",
		TxHash:          someTx,
	})
	_, errs["x402 budget"] = client.X402.Budget(t.Context())
	_, errs["x402 wallets"] = client.X402.Wallets(t.Context())
	_, errs["x402 wallet"] = client.X402.RegisterWallet(t.Context(), letagentpay.X402Wallet{
		Address: "0x1",
		Chain:   "base",
	})
	_, errs["confirm"] = client.Confirm(t.Context(), "r1", completed())
	return errs
}

// A proxy, a captive portal or a wrong base URL answers 200 with JSON of its own.
func TestForeignObjectsAreNoAnswers(t *testing.T) {
	for _, body := range []string{`{"ok":true}`, `{}`, `{"detail":"x"}`, `[]`, `null`, `true`, `""`} {
		synctest.Test(t, func(t *testing.T) {
			for op, err := range everyCall(t, body) {
				if op == "x402 wallets" && body == "[]" {
					assert.NoError(t, err, "no wallets")
					continue
				}
				require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, "%s: %s", op, body)
				require.NotErrorIs(t, err, letagentpay.ErrInvalid, "%s: %s", op, body)
			}
		})
	}
}

func TestAnswersNeedTheirRequiredFields(t *testing.T) {
	row := item("r1", "2026-03-11T12:00:00+00:00")
	for op, c := range map[string]struct {
		path, body string
		missing    []string // the members that are required
		optional   []string
	}{
		"purchase": {
			"POST /requests", autoApproved,
			[]string{
				`"request_id":"r1",`, `"status":"auto_approved",`, `"currency":"USD",`, `"category":"groceries",`,
				`"passed":true,`, `"rule":"status",`, `"result":"pass",`, `"auto_approved":true,`,
			},
			[]string{
				`"original_category":null,`, `"budget_remaining":"450.01",`, `,"expires_at":null`, `,"detail":"ok"`,
			},
		},
		"request": {
			"GET /requests/r1", detail("approved"),
			[]string{`"request_id":"r1",`, `"status":"approved",`, `"amount":49.99,`, `"category":"groceries",`},
			[]string{`"created_at":"2026-03-11T12:00:00.123456+00:00",`, `,"reviewed_at":null`},
		},
		"requests": {
			"GET /requests", `{"requests":[` + row + `],"total":1,"limit":1,"offset":0}`,
			[]string{
				`"requests":[` + row + `],`, `"request_id":"r1",`, `"status":"completed",`, `"amount":49.99,`,
				`"currency":"USD",`, `"category":"groceries",`, `"created_at":"2026-03-11T12:00:00+00:00",`,
			},
			[]string{
				`"merchant":null,`, `"description":null,`, `"reviewed_at":null,`, `,"expires_at":null`, `"total":1,`,
				`"limit":1,`, `,"offset":0`,
			},
		},
		"confirm": {
			"POST /requests/r1/confirm", confirmed,
			[]string{`"request_id":"r1",`, `"status":"completed",`},
			[]string{`,"actual_amount":"47.50"`},
		},
		"budget": {
			"GET /budget", someBudget,
			[]string{`"budget":"500.00",`, `"spent":"10.00",`, `"remaining":"490.00",`},
			[]string{`"held":"0.00",`, `,"currency":"USD"`},
		},
		"policy":     {"GET /policy", `{"x":1,"policy":null}`, []string{`,"policy":null`}, nil},
		"categories": {"GET /categories", `{"x":1,"categories":[]}`, []string{`,"categories":[]`}, nil},
	} {
		call := func(t *testing.T, body string) error {
			method, path, _ := strings.Cut(c.path, " ")
			s := newService(t).on(method, path, answer(200, body))
			if op == "confirm" { // an unclear confirmation is followed by a read
				s.on("GET", "/requests/r1", answer(403, `{"detail":"Agent is paused"}`))
			}
			client := s.client(letagentpay.WithMaxRetries(0))
			var err error
			switch op {
			case "purchase":
				_, err = client.Purchase(t.Context(), groceries())
			case "request":
				_, err = client.Request(t.Context(), "r1")
			case "requests":
				for _, err = range client.Requests(t.Context(), letagentpay.ListParams{}) {
				}
			case "confirm":
				_, err = client.Confirm(t.Context(), "r1", completed())
			case "budget":
				_, err = client.Budget(t.Context())
			case "policy":
				_, err = client.Policy(t.Context())
			case "categories":
				_, err = client.Categories(t.Context())
			}
			return err
		}
		synctest.Test(t, func(t *testing.T) {
			require.NoError(t, call(t, c.body), op)
			for _, part := range c.optional {
				require.Contains(t, c.body, part)
				require.NoError(t, call(t, strings.Replace(c.body, part, "", 1)), "%s without %s", op, part)
			}
			for _, part := range c.missing {
				require.Contains(t, c.body, part)
				require.ErrorIs(t, call(t, strings.Replace(c.body, part, "", 1)), letagentpay.ErrMalformedResponse,
					"%s without %s", op, part)
				var unknown *letagentpay.OutcomeUnknownError
				if op == "purchase" || op == "confirm" {
					require.ErrorAs(t, call(t, strings.Replace(c.body, part, "", 1)), &unknown)
				}
				name, _, _ := strings.Cut(strings.Trim(part, `,"`), `"`)
				null := strings.Replace(part, part[strings.Index(part, ":")+1:len(strings.TrimSuffix(part, ","))],
					"null", 1)
				if name != "policy" {
					require.ErrorIs(t, call(t, strings.Replace(c.body, part, null, 1)),
						letagentpay.ErrMalformedResponse, "%s with %s", op, null)
				}
				upper := strings.Replace(part, `"`+name+`"`, `"`+strings.ToUpper(name)+`"`, 1)
				require.ErrorIs(t, call(t, strings.Replace(c.body, part, upper, 1)), letagentpay.ErrMalformedResponse,
					"%s with %s", op, upper)
			}
		})
	}
}

func TestX402AnswersNeedTheirRequiredFields(t *testing.T) {
	const budget = `{"agent_id":"a","budget":"1","spent":"0","remaining":"1",` +
		`"x402_policy":{"daily_spent":"0","monthly_spent":"0"},"wallets":[{"address":"0x","chain":"base"}]}`
	client := func(body string) *letagentpay.X402Client {
		return newClient(t, fixed{200, "application/json", "", body}, letagentpay.WithMaxRetries(0)).X402
	}
	_, err := client(budget).Budget(t.Context())
	require.NoError(t, err)
	for _, part := range []string{
		`"agent_id":"a",`, `"budget":"1",`, `"spent":"0",`, `"remaining":"1",`, `"daily_spent":"0",`,
		`,"monthly_spent":"0"`, `,"wallets":[{"address":"0x","chain":"base"}]`,
		`"address":"0x",`, `,"chain":"base"`, `"x402_policy":{"daily_spent":"0","monthly_spent":"0"},`,
	} {
		require.Contains(t, budget, part)
		_, err := client(strings.Replace(budget, part, "", 1)).Budget(t.Context())
		require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, part)
	}
	for _, body := range []string{
		`{"authorized":true}`, `{"authorized":true,"authorization_id":""}`,
		`{"authorized":null,"reason":"BUDGET_EXCEEDED"}`, `{"reason":"BUDGET_EXCEEDED"}`,
		`{"authorized":false,"authorization_id":"a1"}`,
		`{"authorized":true,"authorization_id":"a1","reason":"BUDGET_EXCEEDED"}`,
		`{"authorized":false,"Authorized":true,"authorization_id":"a1"}`, `{"Authorized":true,"authorization_id":"a1"}`,
	} {
		_, err := client(body).Authorize(t.Context(), weather("5"))
		var unknown *letagentpay.OutcomeUnknownError
		require.ErrorAs(t, err, &unknown, body)
		require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, body)
	}
	declined, err := client(`{"authorized":false}`).Authorize(t.Context(), weather("5"))
	require.NoError(t, err)
	assert.False(t, declined.Authorized)
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []string{
			`{"recorded":true}`, `{"recorded":false,"transaction_id":"a1"}`, `{"transaction_id":"a1"}`,
			`{"recorded":true,"transaction_id":""}`,
		} {
			_, err := client(body).Report(t.Context(), letagentpay.X402ReportParams{
				AuthorizationID: "a1",
				TxHash:          someTx,
			})
			require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, body)
		}
		for _, body := range []string{
			`{"wallet_address":"0x1","chain":"solana","created_at":"2026-03-11T12:00:00Z"}`,
			`{"wallet_address":"0x2","chain":"base","created_at":"2026-03-11T12:00:00Z"}`, `{"wallet_address":"0x1"}`,
		} {
			_, err := client(body).RegisterWallet(t.Context(), letagentpay.X402Wallet{Address: "0x1", Chain: "base"})
			require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, body)
		}
		registered := client(`{"wallet_address":"0xA1","chain":"base","created_at":"2026-03-11T12:00:00Z"}`)
		_, err := registered.RegisterWallet(t.Context(), letagentpay.X402Wallet{Address: " 0xa1 ", Chain: "Base"})
		require.NoError(t, err)
	})
	for _, body := range []string{
		`[{"wallet_address":"0x","created_at":"2026-03-11T12:00:00Z"}]`, `[{}]`, `[null]`, `{"wallets":[]}`,
	} {
		_, err := client(body).Wallets(t.Context())
		require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, body)
	}
}

func TestAnswersThatContradictThemselvesRunNothing(t *testing.T) {
	change := func(body string, changes ...string) string {
		for i := 0; i < len(changes); i += 2 {
			require.Contains(t, body, changes[i])
			body = strings.Replace(body, changes[i], changes[i+1], 1)
		}
		return body
	}
	for name, body := range map[string]string{
		"approved, not passed":             change(autoApproved, `"passed":true`, `"passed":false`),
		"approved, with a failed check":    change(autoApproved, `"result":"pass"`, `"result":"fail"`),
		"approved, with a check that FAIL": change(autoApproved, `"result":"pass"`, `"result":"FAIL"`),
		"automatic by status, not by flag": change(autoApproved, `"auto_approved":true`, `"auto_approved":false`),
		"by a human, automatic by flag":    change(autoApproved, `"status":"auto_approved"`, `"status":"approved"`),
		"pending, automatic by flag":       change(pendingAnswer, `"auto_approved":false`, `"auto_approved":true`),
		"rejected, automatic by flag":      change(rejectedAnswer, `"auto_approved":false`, `"auto_approved":true`),
		"passed, with a failed check": change(pendingAnswer, `"checks":[]`,
			`"checks":[{"rule":"budget","result":"fail","detail":""}]`),
		"two states": change(autoApproved, `"status":"auto_approved"`,
			`"status":"rejected","Status":"auto_approved"`),
		"two states of one spelling": change(autoApproved, `"status":"auto_approved"`,
			`"status":"rejected","status":"auto_approved"`),
		"two states, one escaped": change(autoApproved, `"status":"auto_approved"`,
			`"status":"rejected","st\u0061tus":"auto_approved"`),
		"two results of a check": change(autoApproved, `"result":"pass"`, `"result":"fail","Result":"pass"`),
		"two policy checks": change(autoApproved, `"policy_check":`,
			`"Policy_Check":{"passed":false,"checks":[]},"policy_check":`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("POST", "/requests", answer(201, body)).
					on("GET", "/requests/r1", answer(200, detail("approved"))).
					on("POST", "/requests/r1/confirm", answer(200, confirmed))
				var runs atomic.Int64
				guarded := guardGroceries(s.client(letagentpay.WithMaxRetries(0)), &runs, succeed)
				_, err := guarded(t.Context(), groceries())
				var unknown *letagentpay.OutcomeUnknownError
				require.ErrorAs(t, err, &unknown)
				require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
				assert.Zero(t, runs.Load())
				assert.NotContains(t, s.paths(), postConfirm)
			})
		})
	}
}

func TestAnswersThatAreUnusualAndNoContradiction(t *testing.T) {
	for name, body := range map[string]string{
		"approved by a human": strings.NewReplacer(`"status":"auto_approved"`, `"status":"approved"`,
			`"auto_approved":true`, `"auto_approved":false`).Replace(autoApproved),
		"rejected by a human": strings.Replace(pendingAnswer, `"status":"pending"`, `"status":"rejected"`, 1),
		"pending although a rule fails": strings.NewReplacer(`"passed":true`, `"passed":false`, `"checks":[]`,
			`"checks":[{"rule":"budget","result":"fail","detail":""}]`).Replace(pendingAnswer),
		"a later state":         strings.Replace(autoApproved, `"status":"auto_approved"`, `"status":"completed"`, 1),
		"a state of the future": strings.Replace(autoApproved, `"status":"auto_approved"`, `"status":"escalated"`, 1),
	} {
		client := newService(t).on("POST", "/requests", answer(201, body)).client(letagentpay.WithMaxRetries(0))
		_, err := client.Purchase(context.Background(), groceries())
		require.NoError(t, err, name)
	}
}

func TestRowsWithImpossibleIDsAreNoAnswer(t *testing.T) {
	for _, id := range []string{"../x", "", "a b", "a%2fb"} {
		s := newService(t).on("GET", "/requests", list(item(id, "2026-03-11T12:00:00Z")))
		for _, err := range s.client(letagentpay.WithMaxRetries(0)).Requests(t.Context(), letagentpay.ListParams{}) {
			require.ErrorIs(t, err, letagentpay.ErrMalformedResponse, id)
			require.NotErrorIs(t, err, letagentpay.ErrInvalid, "the error is not about what was sent")
		}
	}
}
