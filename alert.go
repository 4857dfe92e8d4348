package letagentpay

import (
	"context"
	"log/slog"
)

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
