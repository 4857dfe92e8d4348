package letagentpay

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// log logs one step of a call, such as an attempt that failed.
func (t *transport) log(
	ctx context.Context, level slog.Level, message string, c *call, status int, err error, more ...slog.Attr,
) {
	if !t.logEnabled(ctx, level) {
		return
	}
	attributes := append([]slog.Attr{
		slog.String("operation", string(c.op)),
		slog.String("method", c.request.Method),
		slog.String("path", c.path()),
		slog.Int("attempt", c.attempts),
		slog.Int("status", status),
		slog.Duration("duration", time.Since(c.started)),
	}, more...)
	if err != nil {
		attributes = append(attributes, slog.String("error", errorText(err)))
	}
	t.emit(ctx, level, message, attributes...)
}

// logEnabled reports whether the logger accepts records of a level. A handler that does not return accepts none.
func (t *transport) logEnabled(ctx context.Context, level slog.Level) bool {
	if t.logger == nil {
		return false
	}
	enabled := make(chan bool, 1)
	t.withLogger(func(logger *slog.Logger) { enabled <- logger.Enabled(ctx, level) })
	select {
	case e := <-enabled:
		return e
	default:
		return false
	}
}

// withLogger calls do with the logger. After a logger has hung, it does nothing for a minute, because each call of that
// logger would delay the operation that is logged.
func (t *transport) withLogger(do func(*slog.Logger)) {
	if time.Now().UnixNano() < t.loggerPausedUntil.Load() {
		return
	}
	_, err := runContained(logLimit, func() (struct{}, error) {
		do(t.logger)
		return struct{}{}, nil
	})
	if errors.Is(err, errTooSlow) {
		t.loggerPausedUntil.Store(time.Now().Add(time.Minute).UnixNano())
	}
}

// emit logs to the client's logger, which must not be nil. It cleans the texts of attributes. A handler that hangs or
// panics does not fail the operation.
func (t *transport) emit(ctx context.Context, level slog.Level, message string, attributes ...slog.Attr) {
	t.cleanAttributes(attributes)
	t.withLogger(func(logger *slog.Logger) { logger.LogAttrs(ctx, level, message, attributes...) })
}

// cleanAttributes cleans the texts of attributes in place.
func (t *transport) cleanAttributes(attributes []slog.Attr) {
	for i, attribute := range attributes {
		if attribute.Value.Kind() == slog.KindString {
			attributes[i].Value = slog.StringValue(t.cleaned(attribute.Value.String(), loggedText))
		}
	}
}

// alert logs, at warn level, an event that somebody must notice and no caller gets as an error. It logs to the client's
// logger, or to [slog.Default] without one or if the client's logger panics or hangs. No handler stops the caller.
func (c *Client) alert(ctx context.Context, message string, attributes ...slog.Attr) {
	if ctx == nil {
		ctx = context.Background()
	}
	if logger := c.transport.logger; logger != nil && c.alertTo(ctx, logger, message, attributes) {
		return
	}
	c.alertTo(ctx, slog.Default(), message, attributes)
}

// alertTo logs to one logger and reports whether the logger returned.
func (c *Client) alertTo(
	ctx context.Context, logger *slog.Logger, message string, attributes []slog.Attr,
) (logged bool) {
	_, err := runContained(hookLimit, func() (struct{}, error) {
		cleaned := make([]slog.Attr, len(attributes))
		copy(cleaned, attributes)
		c.transport.cleanAttributes(cleaned)
		logger.LogAttrs(ctx, slog.LevelWarn, message, cleaned...)
		return struct{}{}, nil
	})
	return err == nil
}

// alertJournal logs a failed write to the journal that leaves the purchase itself unaffected.
func (c *Client) alertJournal(ctx context.Context, requestID string, err error) {
	c.alert(ctx, "letagentpay.journal", slog.String("request_id", requestID), slog.String("error", err.Error()))
}
