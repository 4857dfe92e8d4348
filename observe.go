package letagentpay

import (
	"context"
	"log/slog"
	"time"

	"github.com/letagentpay/letagentpay-go/operation"
)

// Observer observes the operations that matter, for tracing and metrics; see [WithObserver]. The module
// integrations/otel makes one for OpenTelemetry. It must be safe for concurrent use, and fast: the operation waits.
type Observer interface {
	// Begin is called as an operation begins. The operation continues under the context returned, and end is called once
	// when it is over, whatever happens. Both are called in a goroutine of their own; the operation does not wait longer
	// than 5 seconds for them, and a panic in them is dropped. Operations nest: a guarded call contains a purchase,
	// perhaps a wait, and a confirmation.
	Begin(ctx context.Context, op operation.Op) (_ context.Context, end func(Observation))
}

// Observation is how an operation ended. What is not known is zero.
type Observation struct {
	Op        operation.Op
	RequestID string
	Status    Status // of the request: the decision of a purchase and a wait, the outcome of a confirmation and a guarded call
	Amount    Amount // asked for; of a confirmation and a guarded call: what was really paid, where that is known
	Currency  string // known of purchases and guarded calls
	Category  string
	Duration  time.Duration
	Err       error
}

// observe tells the observers that an operation begins. The function returned tells them, and the log, how it ended.
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
			_, _ = contained(hookLimit, func() (struct{}, error) {
				ends[i](o)
				return struct{}{}, nil
			})
		}
	}
}

// observeWith calls an observer, which cannot keep the operation from going its way: a confirmation may be among them.
func beginObserver(ctx context.Context, observer Observer, op operation.Op) (context.Context, func(Observation)) {
	type begun struct {
		ctx context.Context
		end func(Observation)
	}
	b, err := contained(hookLimit, func() (b begun, err error) {
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

// observedContext has what an observer has added to a context, and ends when that context does: an observer cannot end
// an operation.
type observedContext struct {
	context.Context
	values context.Context
}

func (oc observedContext) Value(key any) any { return oc.values.Value(key) }

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
		{"request_id", o.RequestID}, {"status", string(o.Status)}, {"currency", o.Currency}, {"category", o.Category},
	} {
		if text.value != "" {
			attributes = append(attributes, slog.String(text.name, text.value))
		}
	}
	if !o.Amount.IsZero() {
		attributes = append(attributes, slog.String("amount", o.Amount.String()))
	}
	if o.Err != nil {
		attributes = append(attributes, slog.String("error", textOfUsers(o.Err)))
	}
	c.transport.emit(ctx, level, "letagentpay."+string(o.Op), attributes...)
}
