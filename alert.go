package letagentpay

import (
	"context"
	"log/slog"
)

// alert reports what somebody must learn of even where no logger was given: then it goes to [slog.Default].
func (c *Client) alert(ctx context.Context, message string, attributes ...slog.Attr) {
	logger := c.transport.logger
	if logger == nil {
		logger = slog.Default()
	}
	_, _ = contained(hookLimit, func() (struct{}, error) {
		c.transport.emitTo(ctx, logger, slog.LevelWarn, message, attributes...)
		return struct{}{}, nil
	})
}
