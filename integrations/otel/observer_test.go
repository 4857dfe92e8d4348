package otelletagentpay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/letagentpay/letagentpay-go"
	otelletagentpay "github.com/letagentpay/letagentpay-go/integrations/otel"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

var errShop = errors.New("private-shop-error")

func TestSpansOfAGuardedCallThatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(3 * time.Minute)
		})
		ctx, turn := r.tracer.Start(t.Context(), "turn")
		require.NoError(t, r.guard(func(ctx context.Context) error {
			_, pay := r.tracer.Start(ctx, "pay")
			defer pay.End()
			approval, _ := letagentpay.ApprovalFromContext(ctx)
			return approval.Spent(letagentpay.MustAmount("75"), "https://private-receipt.example")
		})(ctx, price("80")))
		turn.End()
		assert.Equal(t, []string{
			"turn internal",
			"  guard internal id decision=approved outcome=completed amount=75.00 currency=USD category=groceries",
			"    purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"    wait internal id decision=approved amount=80.00 category=groceries",
			"    pay internal",
			"    confirm client id outcome=completed amount=75.00",
		}, r.spans())
	})
}

func TestSpansOfGuardedCallsThatAreNoErrors(t *testing.T) {
	for name, c := range map[string]struct {
		amount string
		opts   []letagentpay.GuardOption
		human  letagentpaytest.Verdict
		want   []string
	}{
		"rejected by the policy": {amount: "300", want: []string{
			"guard internal id decision=rejected outcome=rejected amount=300.00 currency=USD category=groceries",
			"  purchase client id decision=rejected amount=300.00 currency=USD category=groceries",
		}},
		"rejected by a human": {amount: "80", human: letagentpaytest.Reject(), want: []string{
			"guard internal id decision=rejected outcome=rejected amount=80.00 currency=USD category=groceries",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"  wait internal id decision=rejected amount=80.00 category=groceries",
		}},
		"expired": {amount: "80", opts: []letagentpay.GuardOption{letagentpay.OnPendingWait(time.Hour)}, want: []string{
			"guard internal id decision=expired outcome=expired amount=80.00 currency=USD category=groceries",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"  wait internal id decision=expired amount=80.00 category=groceries",
		}},
		"still pending": {amount: "80", want: []string{
			"guard internal id decision=pending outcome=pending amount=80.00 currency=USD category=groceries",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"  wait internal id decision=pending",
		}},
		"not waited for": {amount: "80", opts: []letagentpay.GuardOption{letagentpay.OnPendingFail()}, want: []string{
			"guard internal id decision=pending outcome=pending amount=80.00 currency=USD category=groceries",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, otelletagentpay.WithErrorMessages())
				r.server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return c.human })
				err := r.guard(succeed, c.opts...)(t.Context(), price(c.amount))
				require.ErrorIs(t, err, letagentpay.ErrNotApproved)
				assert.Equal(t, c.want, r.spans())
			})
		})
	}
}

func TestSpansOfAGuardedCallWhoseCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		require.ErrorIs(t, r.guard(succeed)(ctx, price("80")), context.Canceled)
		assert.Equal(t, []string{
			"guard internal id decision=pending outcome=pending amount=80.00 currency=USD category=groceries",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"  wait internal id decision=pending",
		}, r.spans())
	})
}

func TestSpansOfAGuardedCallWhoseWaitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.server.Fail(letagentpaytest.Fault{Op: operation.Request, Status: 401})
		require.ErrorIs(t, r.guard(succeed)(t.Context(), price("80")), letagentpay.ErrUnauthorized)
		assert.Equal(t, []string{
			"guard internal ERROR id decision=pending outcome=error amount=80.00 currency=USD category=groceries " +
				"error.type=unauthorized",
			"  purchase client id decision=pending amount=80.00 currency=USD category=groceries",
			"  wait internal ERROR id error.type=unauthorized http.response.status_code=401",
		}, r.spans())
	})
}

func TestSpansOfAFunctionThatFails(t *testing.T) {
	r := newRig(t)
	failing := func(context.Context) error { return fmt.Errorf("paying: %w", &shopError{}) }
	require.ErrorIs(t, r.guard(failing)(t.Context(), price("10")), errShop)
	require.ErrorIs(t, r.guard(func(ctx context.Context) error {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return errors.Join(approval.Spent(letagentpay.MustAmount("9.50"), ""), errShop)
	})(t.Context(), price("10")), errShop)
	require.ErrorIs(t, r.guard(func(ctx context.Context) error { // one guarded call in another
		return r.guard(succeed)(ctx, price("300"))
	})(t.Context(), price("10")), letagentpay.ErrNotApproved)
	assert.Equal(t, []string{
		"guard internal ERROR id decision=approved outcome=failed amount=10.00 currency=USD category=groceries " +
			"error.type=*otelletagentpay_test.shopError",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"  confirm client id outcome=failed",
		"guard internal ERROR id decision=approved outcome=completed amount=9.50 currency=USD category=groceries " +
			"error.type=*errors.errorString",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"  confirm client id outcome=completed amount=9.50",
		"guard internal ERROR id decision=approved outcome=failed amount=10.00 currency=USD category=groceries " +
			"error.type=rejected",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"  guard internal id decision=rejected outcome=rejected amount=300.00 currency=USD category=groceries",
		"    purchase client id decision=rejected amount=300.00 currency=USD category=groceries",
		"  confirm client id outcome=failed",
	}, r.spans())
}

func TestSpansOfAFunctionThatPanics(t *testing.T) {
	r := newRig(t)
	assert.PanicsWithValue(t, "private-panic", func() {
		_ = r.guard(func(context.Context) error { panic("private-panic") })(t.Context(), price("10"))
	})
	assert.Equal(t, []string{
		"guard internal ERROR id decision=approved outcome=failed amount=10.00 currency=USD category=groceries " +
			"error.type=*errors.errorString",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"  confirm client id outcome=failed",
	}, r.spans())
}

func TestSpansWhenTheServiceRefusesOrFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.server.Pause()
		require.ErrorIs(t, r.guard(succeed)(t.Context(), price("10")), letagentpay.ErrForbidden)
		r.server.Resume()
		r.server.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter})
		_, err := r.client.Purchase(t.Context(), price("10"))
		require.ErrorIs(t, err, letagentpay.ErrNoResponse)
		r.server.Fail(letagentpaytest.Fault{Op: operation.Confirm, Status: 403, Times: -1})
		require.ErrorIs(t, r.guard(succeed)(t.Context(), price("10")), letagentpay.ErrForbidden)
		_, err = r.client.Confirm(t.Context(), "private", letagentpay.ConfirmParams{Success: true})
		require.Error(t, err)
		assert.Equal(t, []string{
			"guard internal ERROR outcome=error amount=10.00 category=groceries error.type=forbidden",
			"  purchase client ERROR amount=10.00 category=groceries " +
				"error.type=forbidden http.response.status_code=403",
			"purchase client ERROR amount=10.00 category=groceries error.type=outcome_unknown",
			"guard internal ERROR id decision=approved outcome=unconfirmed amount=10.00 currency=USD " +
				"category=groceries error.type=unconfirmed",
			"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
			"  confirm client ERROR id outcome=error error.type=forbidden http.response.status_code=403",
			"confirm client ERROR id outcome=error error.type=forbidden http.response.status_code=403",
		}, r.spans())
	})
}

func TestSpansOfACallThatAnEarlierOneMadeNeedless(t *testing.T) {
	r := newRig(t)
	done, open := price("10"), price("10")
	done.IdempotencyKey, open.IdempotencyKey = "done", "open"
	require.NoError(t, r.guard(succeed)(t.Context(), done))
	_, err := r.client.Purchase(t.Context(), open)
	require.NoError(t, err)
	already := new(letagentpay.AlreadyHandledError)
	require.ErrorAs(t, r.guard(succeed)(t.Context(), done), &already)
	require.ErrorAs(t, r.guard(succeed)(t.Context(), open), &already)
	assert.Equal(t, []string{
		"guard internal id decision=approved outcome=already_handled amount=10.00 currency=USD category=groceries",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"guard internal ERROR id decision=auto_approved outcome=already_handled amount=10.00 currency=USD " +
			"category=groceries error.type=already_handled",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
	}, r.spans()[4:])
	assert.ElementsMatch(t, []string{"outcome=completed: 1", "outcome=already_handled: 2"},
		r.measured("letagentpay.guard.calls"))
}

func TestAuthorizeAndSettleUnderAnotherContext(t *testing.T) {
	r := newRig(t)
	approval, err := r.client.Authorize(t.Context(), price("10"))
	require.NoError(t, err)
	ctx, callback := r.tracer.Start(t.Context(), "callback")
	require.NoError(t, approval.Settle(ctx, nil))
	require.NoError(t, approval.Settle(ctx, nil))
	callback.End()
	assert.Equal(t, []string{
		"guard internal id decision=approved outcome=completed amount=10.00 currency=USD category=groceries",
		"  purchase client id decision=auto_approved amount=10.00 currency=USD category=groceries",
		"callback internal",
		"  confirm client id outcome=completed",
	}, r.spans())
}

func TestNothingPrivateIsRecorded(t *testing.T) {
	r := newRig(t)
	p := price("10")
	p.IdempotencyKey = "private-key"
	require.Error(t, r.guard(func(ctx context.Context) error {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return errors.Join(errShop, approval.Spent(letagentpay.MustAmount("9"), "https://private-receipt.example"))
	})(t.Context(), p))
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &collected))
	for what, recorded := range map[string]any{
		"spans":   tracetest.SpanStubsFromReadOnlySpans(r.recorder.Ended()),
		"metrics": collected,
	} {
		text, err := json.Marshal(recorded)
		require.NoError(t, err)
		require.Contains(t, string(text), "auto_approved", what)
		assert.NotContains(t, string(text), "private", what)
		assert.NotContains(t, string(text), r.server.Token, what)
	}
	text, err := json.Marshal(collected)
	require.NoError(t, err)
	assert.NotContains(t, string(text), r.server.Requests()[0].RequestID)
	assert.NotContains(t, string(text), "groceries")
}

func TestErrorMessagesOnRequest(t *testing.T) {
	r := newRig(t, otelletagentpay.WithErrorMessages())
	require.Error(t, r.guard(func(context.Context) error { return errShop })(t.Context(), price("10")))
	assert.Contains(t, r.spans()[0], "ERROR(private-shop-error)")
}

func TestOptions(t *testing.T) {
	r := newRig(t, otelletagentpay.WithAttributes(attribute.String("agent", "a7")),
		otelletagentpay.WithAttributes(attribute.Int("shard", 3)))
	require.NoError(t, r.guard(succeed)(t.Context(), price("10")))
	for _, span := range r.recorder.Ended() {
		assert.Contains(t, span.Attributes(), attribute.String("agent", "a7"))
		assert.Contains(t, span.Attributes(), attribute.Int("shard", 3))
		assert.Equal(t, letagentpay.Version, span.InstrumentationScope().Version)
	}
	assert.Equal(t, []string{"agent=a7 outcome=completed shard=3: 1"}, r.measured("letagentpay.guard.calls"))

	for _, c := range []struct {
		field  string
		option otelletagentpay.Option
	}{
		{"Option", nil},
		{"WithTracerProvider", otelletagentpay.WithTracerProvider(nil)},
		{"WithMeterProvider", otelletagentpay.WithMeterProvider(nil)},
		{"WithAttributes", otelletagentpay.WithAttributes(attribute.String("", "nameless"))},
		{
			"WithAttributes",
			otelletagentpay.WithAttributes(attribute.String("agent", "a7"),
				attribute.String("letagentpay.outcome", "mine")),
		},
		{"WithAttributes", otelletagentpay.WithAttributes(attribute.String("error.type", "mine"))},
	} {
		_, err := otelletagentpay.New(c.option)
		var param *letagentpay.ParamError
		require.ErrorAs(t, err, &param)
		assert.Equal(t, c.field, param.Field)
	}
}

func TestAMeterProviderThatFails(t *testing.T) {
	_, err := otelletagentpay.New(otelletagentpay.WithMeterProvider(brokenProvider{}))
	require.ErrorIs(t, err, errShop)
}

// setGlobalProviders makes an observer, and after it sets the global providers, which OpenTelemetry hands on only once
// in a process.
var setGlobalProviders = sync.OnceValues(func() (*otelletagentpay.Observer, *rig) {
	observer, err := otelletagentpay.New()
	if err != nil {
		panic(err)
	}
	r := &rig{recorder: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.recorder)))
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader)))
	return observer, r
})

func TestGlobalProvidersMayBeSetLater(t *testing.T) {
	observer, r := setGlobalProviders()
	r.recorder.Reset()
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	_, err := server.Client(letagentpay.WithObserver(observer)).Purchase(t.Context(), price("10"))
	require.NoError(t, err)
	require.Len(t, r.recorder.Ended(), 1)
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &collected))
	require.Len(t, collected.ScopeMetrics, 1)
	assert.Equal(t, letagentpay.Version, collected.ScopeMetrics[0].Scope.Version)
}

func TestConcurrentCallsOfSeveralClients(t *testing.T) {
	const callers, calls = 6, 10 // as many as the service takes in a minute
	r := newRig(t, otelletagentpay.WithAttributes(attribute.String("z", "last"), attribute.String("agent", "a7")),
		otelletagentpay.WithAttributes(attribute.Int("shard", 3)))
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for call := range calls {
				ctx, root := r.tracer.Start(t.Context(), "turn")
				amount := "0.10"
				if (caller+call)%2 == 0 {
					amount = "300"
				}
				_ = r.guard(func(ctx context.Context) error {
					assert.Equal(t, root.SpanContext().TraceID(), trace.SpanContextFromContext(ctx).TraceID())
					return nil
				})(ctx, price(amount))
				root.End()
			}
		})
	}
	group.Wait()
	assert.ElementsMatch(t, []string{
		"agent=a7 outcome=completed shard=3 z=last: 30", "agent=a7 outcome=rejected shard=3 z=last: 30",
	}, r.measured("letagentpay.guard.calls"))
	children := map[trace.TraceID]int{}
	for _, span := range r.recorder.Ended() {
		children[span.SpanContext().TraceID()]++
	}
	assert.Len(t, children, callers*calls)
	for _, n := range children {
		assert.Contains(t, []int{3, 4}, n) // turn, guard, purchase, and a confirmation
	}
}

// shopError is an error of a type of its own.
type shopError struct{}

func (*shopError) Error() string { return "private-shop-error" }

func (*shopError) Unwrap() error { return errShop }

// brokenProvider makes meters that make no counters.
type brokenProvider struct{ noopmetric.MeterProvider }

func (brokenProvider) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

type brokenMeter struct{ noopmetric.Meter }

func (brokenMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return noopmetric.Int64Counter{}, errShop
}
