// Command paidapis shows how an agent pays for calls of HTTP APIs through SDKs that have retries of their own:
// openai-go, anthropic-sdk-go, go-retryablehttp and stripe-go. Each calls an API on this machine. That API charges the
// first request and then answers, cuts the connection, or says 503; or it says 429 and charges nothing. The guard sits
// below the SDK, as the transport of its HTTP client. Each call is charged once and is one purchase.
//
//	go run ./examples/paidapis
//
// No account is needed: the purchases go to an embedded server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "paidapis:", err)
		stop()
		os.Exit(1)
	}
}

// sdks are the ways to call a paid API; guard is the transport for the SDK's HTTP client.
var sdks = []struct {
	name string
	call func(ctx context.Context, address string, guard http.RoundTripper) error
}{
	{"openai-go", askOpenAI},
	{"anthropic-sdk-go", askAnthropic},
	{"go-retryablehttp", fetchRetryable},
	{"stripe-go", payWithStripe},
}

// faults are what the API does with the first request of a call. It has charged for that request, except with 429.
var faults = []string{"answers", "cuts the connection", "says 503", "says 429"}

func run(ctx context.Context, out io.Writer) error {
	var wait sync.WaitGroup
	reports := make([]report, len(sdks)*len(faults))
	for i := range reports {
		wait.Go(func() { reports[i] = try(ctx, i/len(faults), faults[i%len(faults)]) })
	}
	wait.Wait()
	var wrong error
	for _, r := range reports {
		fmt.Fprintln(out, r)
		wrong = errors.Join(wrong, r.check())
	}
	return wrong
}

// report is the outcome of one call.
type report struct {
	sdk, fault string
	charged    int64 // how often the API has charged
	bought     int   // how many purchases the service has booked
	open       int   // how many have no final status at the service
	spent      letagentpay.Amount
	err        error // of the SDK
}

func (r report) String() string {
	outcome := "the SDK returns the answer"
	if r.err != nil {
		outcome = "the SDK returns that the call was made before"
	}
	return fmt.Sprintf("%s, when the API %s: charged %d, bought %d, spent %s; %s",
		r.sdk, r.fault, r.charged, r.bought, r.spent, outcome)
}

// check returns an error unless the call was charged once, was one purchase, and ended as it should.
func (r report) check() error {
	var handled *letagentpay.AlreadyHandledError
	ended := r.err == nil
	if r.fault == "cuts the connection" || r.fault == "says 503" { // the SDK's retry has met its first attempt
		ended = errors.As(r.err, &handled)
	}
	if r.charged != 1 || r.bought != 1 || r.open != 0 || !ended {
		return fmt.Errorf("%s, when the API %s: charged %d, bought %d, open %d: %w",
			r.sdk, r.fault, r.charged, r.bought, r.open, errors.Join(errNotOnce, r.err))
	}
	return nil
}

var errNotOnce = errors.New("not charged and bought exactly once, or not ended as it should")

// try makes one call through one SDK.
func try(ctx context.Context, sdk int, fault string) report {
	r := report{sdk: sdks[sdk].name, fault: fault}
	var service *letagentpaytest.Server
	service, r.err = letagentpaytest.Start(
		letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("100")),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true, "max_amount": 50}}`),
	)
	if r.err != nil {
		return r
	}
	defer service.Close()
	api := &paidAPI{fault: fault}
	far := httptest.NewServer(api)
	defer far.Close()
	next := new(http.Transport)
	defer next.CloseIdleConnections()

	guard := &letagentpay.GuardTransport{Client: service.Client(), Price: price, Next: next}
	// The scope names what stays the same when the work is repeated. To make two purchases with the same content in one
	// run of the scope, use WithScopeRun.
	turn := letagentpay.WithPurchaseScope(ctx, "turn 17")
	r.err = sdks[sdk].call(turn, far.URL, guard)

	for _, request := range service.Requests() {
		switch {
		case request.Status == letagentpay.StatusCompleted:
			r.bought++
		case !request.Status.Final():
			r.open++
		}
	}
	r.charged, r.spent = api.charged.Load(), service.Budget().Spent
	return r
}

// price charges 0.05 for every call. The description holds what distinguishes calls, and nothing that a retry changes.
func price(r *http.Request) (*letagentpay.PurchaseParams, error) {
	return &letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount("0.05"),
		Category:     "subscriptions",
		MerchantName: r.URL.Hostname(),
		Description:  r.Method + " " + r.URL.Path,
	}, nil
}

// paidAPI charges for requests, and answers as the four services do.
type paidAPI struct {
	fault   string
	seen    atomic.Int64
	charged atomic.Int64
}

func (a *paidAPI) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	first := a.seen.Add(1) == 1
	if first && a.fault == "says 429" {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w,
			`{"error": {"type": "invalid_request_error", "code": "lock_timeout", "message": "busy"}}`)
		return
	}
	a.charged.Add(1)
	switch {
	case first && a.fault == "cuts the connection":
		panic(http.ErrAbortHandler)
	case first && a.fault == "says 503":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, `{"id": "17", "type": "message", "role": "assistant", "content": [], "choices": []}`)
	}
}
