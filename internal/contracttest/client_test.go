package contracttest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// world is an embedded server and clients of it whose traffic is kept.
type world struct {
	*letagentpaytest.Server
	transport *Transport
}

func newWorld(t *testing.T, contract *Contract, options ...letagentpaytest.Option) *world {
	t.Helper()
	const limits = `{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": 50}}`
	server := letagentpaytest.NewServer(t, append(options,
		letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(amount("500")),
		letagentpaytest.WithAliases(map[string]string{"cab": "taxi"}),
		letagentpaytest.WithPolicyJSON(limits),
	)...)
	return &world{server, &Transport{Contract: contract, Next: server.HTTPClient().Transport}}
}

func (w *world) client(t *testing.T, options ...letagentpay.Option) *letagentpay.Client {
	t.Helper()
	client, err := letagentpay.New(append([]letagentpay.Option{
		letagentpay.WithToken(w.Token), letagentpay.WithBaseURL(w.URL), letagentpay.WithMaxRetries(0),
		letagentpay.WithHTTPClient(&http.Client{Transport: w.transport}),
	}, options...)...)
	require.NoError(t, err)
	return client
}

func amount(s string) letagentpay.Amount { return letagentpay.MustAmount(s) }

// of returns the parameters of a purchase of taxi rides.
func of(price string) letagentpay.PurchaseParams {
	return letagentpay.PurchaseParams{Amount: amount(price), Category: "taxi"}
}

// stories are what a program may do with the client. What they check is that the calls they mean to make are made.
var stories = map[string]func(*testing.T, context.Context, *world){
	"purchases": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		for price, want := range map[string]letagentpay.Status{
			"0.01":    letagentpay.StatusAutoApproved,
			"49.99":   letagentpay.StatusAutoApproved,
			"51":      letagentpay.StatusPending,
			"9999999": letagentpay.StatusRejected,
		} {
			p, err := c.Purchase(ctx, of(price))
			require.NoError(t, err)
			assert.Equal(t, want, p.Status)
		}
		full := letagentpay.PurchaseParams{
			Amount:         amount("12.5"),
			Category:       "Cab",
			Currency:       "usd",
			MerchantName:   strings.Repeat("ü", 255),
			Description:    strings.Repeat("\n", 2000),
			AgentComment:   `"quoted" <b>`,
			IdempotencyKey: "turn 7",
		}
		first, err := c.Purchase(ctx, full)
		require.NoError(t, err)
		assert.Equal(t, "Cab", first.OriginalCategory)
		again, err := c.Purchase(ctx, full)
		require.NoError(t, err)
		assert.Equal(t, first.RequestID, again.RequestID)
		full.Currency, full.IdempotencyKey = "EUR", ""
		_, err = c.Purchase(ctx, full)
		assert.ErrorIs(t, err, letagentpay.ErrInvalid)
		full.Currency = "XXX"
		_, err = c.Purchase(ctx, full)
		var refused *letagentpay.APIError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "currency", refused.Fields[0].Field)
	},
	"x402": func(t *testing.T, ctx context.Context, w *world) {
		w.SetRate("USDC/USD", "1")
		x402 := w.client(t).X402
		pay := letagentpay.X402AuthorizeParams{
			MaxAmountUSD: amount("0.05"),
			Category:     "other",
			Requirements: letagentpay.PaymentRequirements{
				Scheme:   "exact",
				Network:  "eip155:8453",
				Amount:   "50000",
				Asset:    "USDC",
				PayTo:    "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
				Resource: "https://api.example.com/",
			},
		}
		authorization, err := x402.Authorize(ctx, pay)
		require.NoError(t, err)
		assert.True(t, authorization.Authorized)
		pay.Requirements.Network = "eip155:1"
		declined, err := x402.Authorize(ctx, pay)
		require.NoError(t, err)
		assert.Equal(t, "CHAIN_NOT_ALLOWED", declined.Reason)
		report := letagentpay.X402ReportParams{
			AuthorizationID: authorization.AuthorizationID,
			TxHash:          "0x" + strings.Repeat("a", 64),
			ActualAmountUSD: amount("0.04"),
			ResourceURL:     "https://api.example.com/",
		}
		_, err = x402.Report(ctx, report)
		require.NoError(t, err)
		_, err = x402.Report(ctx, report)
		require.ErrorIs(t, err, letagentpay.ErrConflict)
		wallet := letagentpay.X402Wallet{Address: "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB", Chain: "base"}
		_, err = x402.RegisterWallet(ctx, wallet)
		require.NoError(t, err)
		_, err = x402.RegisterWallet(ctx, wallet)
		require.ErrorIs(t, err, letagentpay.ErrConflict)
		_, err = x402.Wallets(ctx)
		require.NoError(t, err)
		_, err = x402.Budget(ctx)
		require.NoError(t, err)
	},
	"confirmations": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		for _, params := range []letagentpay.ConfirmParams{
			{Success: true},
			{Success: true, ActualAmount: amount("0.01")},
			{}, // failed
			{
				Success:      true,
				ActualAmount: amount("9999999"),
				ReceiptURL:   "https://shop.example/" + strings.Repeat("x", 1979),
			},
		} {
			p, err := c.Purchase(ctx, of("1"))
			require.NoError(t, err)
			_, err = c.Confirm(ctx, p.RequestID, params)
			require.NoError(t, err)
			_, err = c.Confirm(ctx, p.RequestID, params)
			assert.ErrorIs(t, err, letagentpay.ErrConflict)
		}
		_, err := c.Confirm(ctx, "no-such-request", letagentpay.ConfirmParams{Success: true})
		assert.ErrorIs(t, err, letagentpay.ErrNotFound)
	},
	"reads": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		for i := range 25 {
			p := of("1")
			p.MerchantName = strings.Repeat("m", i%2)
			_, err := c.Purchase(ctx, p)
			require.NoError(t, err)
		}
		for _, params := range []letagentpay.ListParams{
			{},
			{PageSize: 10},
			{Status: letagentpay.StatusPending},
			{Status: letagentpay.StatusAutoApproved, PageSize: 1},
		} {
			n := 0
			for r, err := range c.Requests(ctx, params) {
				require.NoError(t, err)
				_, err = c.Request(ctx, r.RequestID)
				require.NoError(t, err)
				n++
			}
			assert.Equal(t, params.Status == letagentpay.StatusPending, n == 0)
		}
		_, err := c.Request(ctx, "nobody")
		assert.ErrorIs(t, err, letagentpay.ErrNotFound)
		_, err = c.Budget(ctx)
		require.NoError(t, err)
		p, err := c.Policy(ctx)
		require.NoError(t, err)
		assert.NotNil(t, p)
		w.SetPolicyJSON("")
		p, err = c.Policy(ctx)
		require.NoError(t, err)
		assert.Nil(t, p)
		_, err = c.Categories(ctx)
		require.NoError(t, err)
	},
	"waits": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		decisions := map[string]letagentpaytest.Verdict{
			"60": letagentpaytest.Approve().After(time.Minute),
			"70": letagentpaytest.Reject().After(3 * time.Minute),
			"80": {},
		}
		w.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
			return decisions[strings.TrimSuffix(r.Amount.String(), ".00")]
		})
		ended := make(chan letagentpay.Status)
		for price := range decisions {
			p, err := c.Purchase(ctx, of(price))
			require.NoError(t, err)
			go func() {
				r, err := c.WaitForDecision(ctx, p.RequestID)
				assert.NoError(t, err)
				ended <- r.Status
			}()
		}
		for _, status := range []letagentpay.Status{"approved", "rejected", "expired"} {
			assert.Equal(t, status, <-ended)
		}
		p, err := c.Purchase(ctx, of("80"))
		require.NoError(t, err)
		_, err = c.WaitForDecision(ctx, p.RequestID, letagentpay.WaitTimeout(10*time.Second))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	},
	"guards": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		fault := errors.New("the shop is closed")
		guarded := func(ctx context.Context, price string, fn func(*letagentpay.Approval) error,
			options ...letagentpay.GuardOption,
		) error {
			_, err := letagentpay.Guard(c, of, func(ctx context.Context, _ string) (struct{}, error) {
				approval, _ := letagentpay.ApprovalFromContext(ctx)
				return struct{}{}, fn(approval)
			}, options...)(ctx, price)
			return err
		}
		pays := func(a *letagentpay.Approval) error { return a.Spent(amount("4.567"), "https://shop.example/1") }
		assert.NoError(t, guarded(ctx, "5", pays))
		assert.ErrorIs(t, guarded(ctx, "5", func(*letagentpay.Approval) error { return fault }), fault)
		assert.Panics(t, func() { _ = guarded(ctx, "5", func(*letagentpay.Approval) error { panic("at the till") }) })
		assert.ErrorIs(t, guarded(ctx, "300", pays), letagentpay.ErrNotApproved)
		scope := letagentpay.WithPurchaseScope(ctx, "message 1")
		assert.NoError(t, guarded(scope, "6", pays))
		rerun := letagentpay.WithPurchaseScope(ctx, "message 1")
		assert.ErrorAs(t, guarded(rerun, "6", pays), new(*letagentpay.AlreadyHandledError))

		var pending *letagentpay.NotApprovedError
		require.ErrorAs(t, guarded(ctx, "100", pays, letagentpay.OnPendingFail()), &pending)
		require.NoError(t, w.Approve(pending.RequestID))
		assert.NoError(t, guarded(letagentpay.ResumeApproval(ctx, pending.RequestID), "100", pays))
		w.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(time.Minute)
		})
		assert.NoError(t, guarded(ctx, "60", pays))

		approval, err := c.Authorize(ctx, of("7"))
		require.NoError(t, err)
		assert.NoError(t, approval.Settle(ctx, nil))
	},
	"refusals": func(t *testing.T, ctx context.Context, w *world) {
		calls := func(c *letagentpay.Client) map[string]error {
			all := map[string]error{}
			_, all["purchase"] = c.Purchase(ctx, of("1"))
			_, all["confirm"] = c.Confirm(ctx, "nobody", letagentpay.ConfirmParams{Success: true})
			_, all["request"] = c.Request(ctx, "nobody")
			_, all["budget"] = c.Budget(ctx)
			_, all["policy"] = c.Policy(ctx)
			_, all["categories"] = c.Categories(ctx)
			for _, err := range c.Requests(ctx, letagentpay.ListParams{}) {
				all["requests"] = err
			}
			return all
		}
		for op, err := range calls(w.client(t, letagentpay.WithToken("agt_unknown"))) {
			assert.ErrorIs(t, err, letagentpay.ErrUnauthorized, op)
		}
		c := w.client(t)
		for _, switches := range [][2]func(){
			{w.Pause, w.Resume}, {w.Archive, w.Resume}, {w.Block, w.Unblock}, {w.PauseAll, w.ResumeAll},
		} {
			switches[0]()
			for op, err := range calls(c) {
				assert.ErrorIs(t, err, letagentpay.ErrForbidden, op)
			}
			switches[1]()
		}
	},
	"rate limits": func(t *testing.T, ctx context.Context, w *world) {
		c := w.client(t)
		w.SetBudget(amount("9999999"))
		refused := map[error]int{}
		for range 105 {
			_, err := c.Purchase(ctx, of("51"))
			switch {
			case errors.Is(err, letagentpay.ErrRateLimited):
				refused[letagentpay.ErrRateLimited]++
				w.Advance(time.Minute)
			case errors.Is(err, letagentpay.ErrTooManyPending):
				refused[letagentpay.ErrTooManyPending]++
			default:
				require.NoError(t, err)
			}
		}
		assert.Equal(t, map[error]int{letagentpay.ErrRateLimited: 1, letagentpay.ErrTooManyPending: 4}, refused)
	},
}

func TestClientAndServerKeepToTheContract(t *testing.T) {
	contract := loadContract(t)
	total, operations, statuses := 0, map[string]int{}, map[int]int{}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, contract)
				story(t, t.Context(), w)
				exchanges := w.transport.Take()
				assert.NotEmpty(t, exchanges)
				for _, e := range exchanges {
					total++
					operations[e.Operation()]++
					statuses[e.Status]++
					assert.NoError(t, e.CheckRequest(), e)
					assert.NoError(t, e.CheckResponse(), e)
				}
			})
		})
	}
	for _, operation := range []string{
		"createRequest", "confirmRequest", "getRequest", "listRequests", "getBudget", "getPolicy", "listCategories",
	} {
		assert.NotZero(t, operations[operation], operation)
	}
	for _, status := range []int{200, 201, 400, 401, 403, 404, 422, 429} {
		assert.NotZero(t, statuses[status], status)
	}
	t.Logf("%d exchanges by operation %v, by status %v", total, operations, statuses)
}
