package letagentpaytest_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// complaints returns the types and places of a 422, as in "greater_than body.amount".
func complaints(t *testing.T, body string) []string {
	t.Helper()
	var refusal struct {
		Detail []struct {
			Type string
			Loc  []any
			Msg  string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &refusal), body)
	var all []string
	for _, d := range refusal.Detail {
		var path []string
		for _, step := range d.Loc {
			switch step := step.(type) {
			case string:
				path = append(path, step)
			case float64:
				path = append(path, strconv.Itoa(int(step)))
			}
		}
		assert.NotEmpty(t, d.Msg)
		all = append(all, d.Type+" "+strings.Join(path, "."))
	}
	return all
}

func TestValidation(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(), letagentpaytest.WithPolicyJSON(autoApprove))
	x402 := func(change string) string {
		return `{"payment_requirements": {"scheme": "exact", "network": "base", "amount": "1", "asset": "USDC",
			"pay_to": "0xb"}, ` + change + `}`
	}
	hash := "0x" + strings.Repeat("a", 64)
	for _, test := range []struct {
		path, body string
		want       []string // nil: accepted
	}{
		{"/requests", `{"amount": 1.5, "category": "taxi"}`, nil},
		{"/requests", "\ufeff {\"amount\" : 1.5 , \"category\" : \"taxi\" } ", nil},
		{"/requests", `{"amount": " 1_0.50 ", "category": "taxi"}`, nil},
		{"/requests", `{"amount": "+1E1", "category": "taxi"}`, nil},
		{"/requests", `{"amount": ".5", "category": "taxi"}`, nil},
		{"/requests", `{"amount": "5.", "category": "taxi"}`, nil},
		{"/requests", `{"amount": "1e-300", "category": "taxi"}`, nil},
		{
			"/requests", `{"amount": "1e999999999999999999999", "category": "taxi"}`,
			[]string{"less_than_equal body.amount"},
		},
		{
			"/requests", `{"amount": "-1e999999999999999999999", "category": "taxi"}`,
			[]string{"greater_than body.amount"},
		},
		{"/requests", `{"amount": 1e999, "category": "taxi"}`, []string{"finite_number body.amount"}},
		{"/requests", `{"amount": 9999999.01, "category": "taxi"}`, []string{"less_than_equal body.amount"}},
		{
			"/requests", `{"amount": 99999999999999999999999999, "category": "taxi"}`,
			[]string{"less_than_equal body.amount"},
		},
		{"/requests", `{"amount": "-inf", "category": "taxi"}`, []string{"finite_number body.amount"}},
		{"/requests", `{"amount": "sNaN12", "category": "taxi"}`, []string{"finite_number body.amount"}},
		{"/requests", `{"amount": "nan!", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": "+-5", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": "1e", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": "1e1.5", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": ".", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": "", "category": "taxi"}`, []string{"decimal_parsing body.amount"}},
		{"/requests", `{"amount": 5, "category": null}`, []string{"string_type body.category"}},
		{"/requests", `{"amount": 5, "category": "a\u0000b"}`, []string{"value_error body.category"}},
		{"/requests", `{"amount": 5, "category": "` + strings.Repeat("ü", 50) + `"}`, nil},
		{
			"/requests", `{"amount": 5, "category": "` + strings.Repeat("ü", 51) + `"}`,
			[]string{"string_too_long body.category"},
		},
		{"/requests", `{"amount": 5, "category": "taxi", "currency": "usd"}`, nil},
		{"/requests", `{"amount": 5, "category": "taxi", "currency": ""}`, []string{"value_error body.currency"}},
		{"/requests", `{"amount": 5, "category": "taxi", "currency": "us "}`, []string{"value_error body.currency"}},
		{"/requests", `{"amount": 5, "category": "taxi", "currency": 840}`, []string{"string_type body.currency"}},
		{"/requests", `[]`, []string{"model_attributes_type body"}},
		{"/requests", `"text"`, []string{"model_attributes_type body"}},
		{"/requests", ` null `, []string{"missing body"}},
		{"/requests", `{"amount": NaN}`, []string{"json_invalid body.12"}},
		{"/requests", `{"amount": 1,}`, []string{"json_invalid body.14"}},
		{"/requests", `{} {}`, []string{"json_invalid body.4"}},
		{"/requests/x/confirm", `{"success": []}`, []string{"bool_type body.success"}},
		{"/requests/x/confirm", `{"success": 0.5}`, []string{"bool_type body.success"}},
		{"/requests/x/confirm", `{"success": 1e400}`, []string{"bool_type body.success"}},
		{"/requests/x/confirm", `{"success": -1}`, []string{"bool_parsing body.success"}},
		{"/requests/x/confirm", `{"success": " true"}`, []string{"bool_parsing body.success"}},
		{
			"/requests/x/confirm", `{"success": true, "actual_amount": "Infinity"}`,
			[]string{"finite_number body.actual_amount"},
		},
		{"/x402/authorize", x402(`"max_amount_usd": 1`), nil},
		{"/x402/authorize", x402(`"max_amount_usd": "10000.001"`), []string{"value_error body.max_amount_usd"}},
		{"/x402/authorize", x402(`"max_amount_usd": 1, "category": null`), []string{"string_type body.category"}},
		{"/x402/authorize", `{"payment_requirements": [], "max_amount_usd": 0}`, []string{
			"model_attributes_type body.payment_requirements", "greater_than body.max_amount_usd",
		}},
		{
			"/x402/authorize", strings.Replace(x402(`"max_amount_usd": 1`), "USDC", "DAI", 1),
			[]string{"value_error body.payment_requirements.asset"},
		},
		{
			"/x402/report", `{"authorization_id": "x", "tx_hash": "` + hash + `", "actual_amount_usd": 1e10}`,
			[]string{"less_than_equal body.actual_amount_usd"},
		},
		{
			"/x402/report", `{"authorization_id": "x", "tx_hash": "` + strings.Repeat("z", 89) + `"}`,
			[]string{"string_too_long body.tx_hash"},
		},
		{
			"/x402/report", `{"authorization_id": "x", "tx_hash": 5, "actual_amount": 5}`,
			[]string{"string_type body.tx_hash", "string_type body.actual_amount"},
		},
		{"/x402/wallets", `{"wallet_address": "", "chain": "base"}`, []string{"string_too_short body.wallet_address"}},
		{
			"/x402/wallets", `{"wallet_address": "0x12", "chain": "tron"}`,
			[]string{"value_error body.wallet_address", "value_error body.chain"},
		},
		{"/x402/wallets", `{"wallet_address": "0x` + strings.Repeat("1", 40) + `", "chain": " SOLANA "}`, nil},
	} {
		status, got, err := send(t, srv, http.MethodPost, test.path, test.body)
		require.NoError(t, err)
		if test.want == nil {
			assert.Less(t, status, 300, "%s %s: %s", test.path, test.body, got)
			continue
		}
		if assert.Equal(t, http.StatusUnprocessableEntity, status, "%s %s: %s", test.path, test.body, got) {
			assert.Equal(t, test.want, complaints(t, got), test.body)
		}
	}
	status, got, err := send(t, srv, http.MethodPost, "/requests", "{\"amount\": 5, \"category\": \"\xff\"}")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.JSONEq(t, `{"detail": "There was an error parsing the body"}`, got)
}

func TestPaging(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	purchase(t, srv.Client(), groceries)
	for query, want := range map[string]string{
		"?limit=0":                      `"limit":0,"offset":0,"requests":[],"total":0`,
		"?limit=1&limit=2":              `"limit":2,`,
		"?limit=%205.0":                 `"limit":5,`,
		"?limit=1_0":                    `"limit":10,`,
		"?limit=99999999999999999999":   `"limit":100,`,
		"?offset=1":                     `"requests":[],"total":0`,
		"?limit=abc&offset=":            "int_parsing query.limit, int_parsing query.offset",
		"?limit":                        "int_parsing query.limit",
		"?limit=-1":                     "greater_than_equal query.limit",
		"?offset=-99999999999999999999": "greater_than_equal query.offset",
		"?limit=1.5":                    "int_parsing query.limit",
	} {
		status, got, err := send(t, srv, http.MethodGet, "/requests"+query, "")
		require.NoError(t, err)
		if status == http.StatusUnprocessableEntity {
			got = strings.Join(complaints(t, got), ", ")
		}
		assert.Contains(t, got, want, query)
	}
}

func TestRoutes(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		for _, test := range []struct {
			method, path string
			status       int
			body         string
		}{
			{http.MethodGet, "/nothing", 404, `{"detail":"Not Found"}`},
			{http.MethodGet, "/requests/x/y", 404, `{"detail":"Not Found"}`},
			{http.MethodPost, "/requests//confirm", 404, `{"detail":"Not Found"}`},
			{http.MethodGet, "/x402/authorize/x", 404, `{"detail":"Not Found"}`},
			{http.MethodDelete, "/requests", 405, `{"detail":"Method Not Allowed"}`},
			{http.MethodPut, "/budget", 405, `{"detail":"Method Not Allowed"}`},
			{http.MethodGet, "/requests/x/confirm", 405, `{"detail":"Method Not Allowed"}`},
			{http.MethodGet, "/x402/report", 405, `{"detail":"Method Not Allowed"}`},
			{http.MethodGet, "/budget/", 200, `{"budget":"1000.00"`}, // by way of a redirect
		} {
			status, got, err := send(t, srv, test.method, test.path, "")
			require.NoError(t, err)
			assert.Equal(t, test.status, status, test.path)
			assert.True(t, strings.HasPrefix(got, test.body), got)
		}
	})
}

func TestAuthorizationHeader(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	for header, want := range map[string]string{
		"":                          "Missing bearer token",
		srv.Token:                   "Missing bearer token",
		"bearer " + srv.Token:       "Missing bearer token",
		"Basic " + srv.Token:        "Missing bearer token",
		"Bearer":                    "Missing bearer token",
		"Bearer  " + srv.Token:      "Invalid agent token",
		"Bearer agt_nobody's":       "Invalid agent token",
		"Bearer " + srv.Token + "x": "Invalid agent token",
	} {
		request, err := http.NewRequest(http.MethodGet, srv.URL+"/budget", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", header)
		response, err := srv.HTTPClient().Do(request)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, response.StatusCode)
		var refusal struct{ Detail string }
		require.NoError(t, json.NewDecoder(response.Body).Decode(&refusal))
		assert.Equal(t, want, refusal.Detail)
		response.Body.Close()
	}
}

func TestOneKeyAtOnceBuysOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, srv *letagentpaytest.Server) {
		const callers = 20
		var group sync.WaitGroup
		answers := make([]string, callers)
		for i := range callers {
			group.Go(func() {
				request, err := http.NewRequest(http.MethodPost, srv.URL+"/requests",
					strings.NewReader(`{"amount":5,"category":"taxi"}`))
				if !assert.NoError(t, err) {
					return
				}
				request.Header.Set("Authorization", "Bearer "+srv.Token)
				request.Header.Set("Idempotency-Key", "once")
				response, err := srv.HTTPClient().Do(request)
				if !assert.NoError(t, err) {
					return
				}
				defer response.Body.Close()
				var answer struct {
					RequestID string `json:"request_id"`
				}
				assert.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
				answers[i] = answer.RequestID
			})
		}
		group.Wait()
		require.Len(t, srv.Requests(), 1)
		for _, id := range answers {
			assert.Equal(t, srv.Requests()[0].RequestID, id)
		}
		assert.Equal(t, money.Must("5"), srv.Budget().Spent)
	})
}

func TestVelocityWindows(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithStart(time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}, "requests_per_minute": 2,
			"requests_per_hour": 3}`))
	client := srv.Client()
	one := letagentpay.PurchaseParams{Amount: money.Must("1"), Category: "taxi"}
	next := func() *letagentpay.Purchase { return purchase(t, client, one) }
	assert.True(t, next().Status.Approved())
	assert.True(t, next().Status.Approved())
	minute := next()
	assert.Equal(t, letagentpay.StatusRejected, minute.Status)
	assert.Equal(t, minute.RequestID, next().RequestID, "one record a minute")
	srv.Advance(time.Minute)
	assert.True(t, next().Status.Approved())
	hour := next()
	assert.Equal(t, letagentpay.StatusRejected, hour.Status)
	assert.NotEqual(t, minute.RequestID, hour.RequestID)
	srv.Advance(30 * time.Minute)
	assert.Equal(t, hour.RequestID, next().RequestID, "and one an hour")
	srv.Advance(30 * time.Minute)
	assert.True(t, next().Status.Approved())
	assert.Len(t, srv.Requests(), 6)
}

func TestX402(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithRates(map[string]string{"USDC/USD": "0.9998"}),
		letagentpaytest.WithPolicyJSON(`{"daily_limit": 50, "x402": {"blocked_domains": ["*.evil.example"],
			"max_per_request": 20}}`))
	type authorization struct {
		Authorized           bool    `json:"authorized"`
		Reason               string  `json:"reason"`
		RemainingDailyBudget string  `json:"remaining_daily_budget"`
		RemainingMonthly     *string `json:"remaining_monthly_budget"`
	}
	authorize := func(resource, amount string) (answer authorization) {
		body := `{"payment_requirements": {"scheme": "exact", "network": "eip155:8453", "amount": "1", "asset": "usdc",
			"pay_to": "0xb", "resource": ` +
			strconv.Quote(resource) + `}, "max_amount_usd": ` + strconv.Quote(amount) + `}`
		status, got, err := send(t, srv, http.MethodPost, "/x402/authorize", body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, got)
		require.NoError(t, json.Unmarshal([]byte(got), &answer))
		return answer
	}
	paid := authorize("https://api.example/v1", "0.001")
	assert.True(t, paid.Authorized)
	assert.Equal(t, "49.9990002", paid.RemainingDailyBudget, "with every digit of the exchange")
	assert.Nil(t, paid.RemainingMonthly)
	assert.Zero(t, srv.Budget().Spent, "a tenth of a cent rounds to nothing")

	for resource, blocked := range map[string]bool{
		"https://evil.example/":              true,
		"https://api.evil.example:8443/x":    true,
		"HTTPS://user:pw@API.Evil.Example/":  true,
		" \thttps://evil.example?x":          true,
		"//evil.example#x":                   true,
		"https://notevil.example/":           false,
		"https://good.example/?evil.example": false,
		"evil.example/x":                     false, // no host
		"http://[::1/evil.example":           false, // no URL
		"http://[::1]:80/":                   false,
		"1http://evil.example":               false,
		"":                                   false,
	} {
		want := ""
		if blocked {
			want = "DOMAIN_BLOCKED"
		}
		assert.Equal(t, want, authorize(resource, "0.01").Reason, resource)
	}
	assert.Equal(t, "AMOUNT_EXCEEDS_PER_REQUEST_LIMIT", authorize("", "20.01").Reason)
	assert.Empty(t, authorize("", "20").Reason, "19.996 in dollars")
	for rate, deviation := range map[string]string{
		"1.0125":  "1.2",
		"1.0135":  "1.4",
		"0.9881":  "1.2",
		"0.98751": "1.2",
		"2":       "100.0",
	} {
		srv.SetRate("USDC/USD", rate)
		assert.Equal(t, "STABLECOIN_DEPEG: USDC deviation "+deviation+"%", authorize("", "1").Reason)
	}

	r, _ := srv.Request(authorizationOf(t, srv))
	assert.Equal(t, letagentpay.StatusAutoApproved, r.Status)
	assert.Equal(t, "other", r.Category)
}

func TestAnX402PaymentOfExactlyTheLimitPasses(t *testing.T) {
	srv := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"x402": {"max_per_request": 5}}`))
	for amount, want := range map[string]bool{"5": true, "5.000001": false} {
		authorization, err := srv.Client().X402.Authorize(t.Context(), letagentpay.X402AuthorizeParams{
			MaxAmountUSD: money.Must(amount),
			Requirements: letagentpay.PaymentRequirements{
				Scheme:  "exact",
				Network: "base",
				Amount:  "1",
				Asset:   "USDC",
				PayTo:   "0xbb",
			},
		})
		require.NoError(t, err)
		assert.Equal(t, want, authorization.Authorized, amount)
	}
}

func authorizationOf(t *testing.T, srv *letagentpaytest.Server) string {
	t.Helper()
	all := srv.Requests()
	require.NotEmpty(t, all)
	return all[len(all)-1].RequestID
}
