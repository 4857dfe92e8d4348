package letagentpay

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

func (t *transport) log(ctx context.Context, level slog.Level, message string, c *call, status int, err error, more ...slog.Attr) {
	if !t.logEnabled(ctx, level) {
		return
	}
	attributes := append([]slog.Attr{
		slog.String("operation", string(c.op)), slog.String("method", c.request.Method), slog.String("path", c.path()),
		slog.Int("attempt", c.attempts), slog.Int("status", status), slog.Duration("duration", time.Since(c.started)),
	}, more...)
	if err != nil {
		attributes = append(attributes, slog.String("error", errorText(err)))
	}
	t.emit(ctx, level, message, attributes...)
}

// logs reports whether the logger wants records of a level. A handler that does not return wants none.
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

// withLogger lets do use the logger. A logger that hangs is left alone for a
// while, because each call of it would take time from what is logged.
func (t *transport) withLogger(do func(*slog.Logger)) {
	if time.Now().UnixNano() < t.loggerPausedUntil.Load() {
		return
	}
	_, err := contained(logLimit, func() (struct{}, error) {
		do(t.logger)
		return struct{}{}, nil
	})
	if errors.Is(err, errTooSlow) {
		t.loggerPausedUntil.Store(time.Now().Add(time.Minute).UnixNano())
	}
}

// emit logs to the client's logger, which must be there. Texts are cleaned; a handler that does not return breaks no
// call.
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

// alert reports what must not stay unknown, and what no caller can be given as an error. It goes to the client's
// logger, or to [slog.Default] when there is none, at warn level. A handler that panics or hangs does not stop the
// caller; when it is the client's, the record goes to slog.Default as well.
func (c *Client) alert(ctx context.Context, message string, attributes ...slog.Attr) {
	if ctx == nil {
		ctx = context.Background()
	}
	if logger := c.transport.logger; logger != nil && c.alertTo(ctx, logger, message, attributes) {
		return
	}
	c.alertTo(ctx, slog.Default(), message, attributes)
}

func (c *Client) alertTo(ctx context.Context, logger *slog.Logger, message string, attributes []slog.Attr) (logged bool) {
	_, err := contained(hookLimit, func() (struct{}, error) {
		cleaned := make([]slog.Attr, len(attributes))
		copy(cleaned, attributes)
		c.transport.cleanAttributes(cleaned)
		logger.LogAttrs(ctx, slog.LevelWarn, message, cleaned...)
		return struct{}{}, nil
	})
	return err == nil
}

// alertJournal reports a record that could not be written, of a purchase that is as it should be.
func (c *Client) alertJournal(ctx context.Context, requestID string, err error) {
	c.alert(ctx, "letagentpay.journal", slog.String("request_id", requestID), slog.String("error", err.Error()))
}
