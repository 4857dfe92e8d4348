package letagentpay

import (
	"context"
	"log/slog"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// Observer observes the client's main operations, for tracing and metrics; see [WithObserver]. The module
// integrations/otel provides one for OpenTelemetry. An Observer must be safe for concurrent use, and fast: the
// operation waits for it.
type Observer interface {
	// Begin is called when an operation begins. The operation continues under the context returned, and end is called
	// exactly once when it is over. A nil context or end is ignored. The context returned adds values only; it cannot
	// end the operation.
	//
	// Both functions run in goroutines of their own. The operation waits at most 5 seconds for each, and drops their
	// panics. Operations nest: a guarded call contains a purchase, possibly a wait, and a confirmation.
	Begin(ctx context.Context, op operation.Op) (_ context.Context, end func(Observation))
}

// Observation reports how an operation ended. Fields whose value is not known are zero.
type Observation struct {
	Op        operation.Op
	RequestID string
	// Status is that of the request: the decision after a purchase or a wait, the outcome after a confirmation or a
	// guarded call.
	Status Status
	// Amount is the amount requested. After a confirmation or a guarded call, it is the amount paid, if that is known.
	Amount   Amount
	Currency string // known for purchases and guarded calls
	Category string
	Duration time.Duration
	Err      error // the error that the operation returned; nil: none
}

// observe reports to the observers that an operation begins. The function returned reports to them, and to the log, how
// it ended.
func (c *Client) observe(ctx context.Context, op operation.Op) (context.Context, func(Observation)) {
	if len(c.observers) == 0 && c.transport.logger == nil {
		return ctx, func(Observation) {}
	}
	begun := time.Now()
	ends := make([]func(Observation), len(c.observers))
	for i, observer := range c.observers {
		ctx, ends[i] = beginObserver(ctx, observer, op)
	}
	return ctx, func(o Observation) {
		o.Op, o.Duration = op, time.Since(begun)
		c.logOperation(ctx, &o)
		for i := len(ends) - 1; i >= 0; i-- {
			_, _ = runContained(hookLimit, func() (struct{}, error) {
				ends[i](o)
				return struct{}{}, nil
			})
		}
	}
}

// beginObserver calls an observer's Begin. No observer can stop the operation, which may be a confirmation.
func beginObserver(ctx context.Context, observer Observer, op operation.Op) (context.Context, func(Observation)) {
	type begun struct {
		ctx context.Context
		end func(Observation)
	}
	b, err := runContained(hookLimit, func() (b begun, err error) {
		b.ctx, b.end = observer.Begin(ctx, op)
		return b, nil
	})
	if err != nil || b.ctx == nil {
		b.ctx = ctx
	} else if b.ctx != ctx {
		b.ctx = observedContext{ctx, b.ctx}
	}
	if err != nil || b.end == nil {
		b.end = func(Observation) {}
	}
	return b.ctx, b.end
}

// observedContext has the values of an observer's context, but ends only with the operation's own context.
type observedContext struct {
	context.Context
	values context.Context
}

func (oc observedContext) Value(key any) any { return oc.values.Value(key) }

// logOperation logs how an operation ended.
func (c *Client) logOperation(ctx context.Context, o *Observation) {
	level := slog.LevelInfo
	if o.Err != nil {
		level = slog.LevelWarn
	}
	if !c.transport.logEnabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{slog.Duration("duration", o.Duration)}
	for _, text := range []struct{ name, value string }{
		{"request_id", o.RequestID},
		{"status", string(o.Status)},
		{"currency", o.Currency},
		{"category", o.Category},
	} {
		if text.value != "" {
			attributes = append(attributes, slog.String(text.name, text.value))
		}
	}
	if !o.Amount.IsZero() {
		attributes = append(attributes, slog.String("amount", o.Amount.String()))
	}
	if o.Err != nil {
		attributes = append(attributes, slog.String("error", userErrorText(o.Err)))
	}
	c.transport.emit(ctx, level, "letagentpay."+string(o.Op), attributes...)
}
