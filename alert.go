package letagentpay

import (
	"context"
	"fmt"
	"log/slog"
)

// alert reports what must not stay unknown, and what no caller can be given as an error. It goes to the client's
// logger, or to [slog.Default] when there is none, at warn level. A handler that panics does not stop the caller; when
// it is the client's, the record goes to slog.Default as well.
func (c *Client) alert(ctx context.Context, message string, attributes ...slog.Attr) {
	if ctx == nil {
		ctx = context.Background()
	}
	if logger := c.transport.logger; logger != nil && logSafely(ctx, logger, message, attributes) {
		return
	}
	logSafely(ctx, slog.Default(), message, attributes)
}

func logSafely(ctx context.Context, logger *slog.Logger, message string, attributes []slog.Attr) (logged bool) {
	defer func() { _ = recover() }()
	logger.LogAttrs(ctx, slog.LevelWarn, message, attributes...)
	return true
}

// textOf returns the text of an error for the log, without the token. The error may be of a caller's type, whose Error
// method may panic.
func (c *Client) textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error of type %T, which has no text", err)
		}
	}()
	return c.transport.redact(err.Error())
}
