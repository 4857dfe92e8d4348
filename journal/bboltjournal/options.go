package bboltjournal

import (
	"strconv"
	"time"

	"github.com/letagentpay/letagentpay-go"
)

const (
	defaultRetention = 7 * 24 * time.Hour
	keyLifetime      = 24 * time.Hour // how long the service remembers an idempotency key
	forKeys          = ", for which the service remembers idempotency keys"
)

// Option adjusts [Open].
type Option func(*config) error

type config struct {
	lockTimeout time.Duration // 0: one attempt
	retention   time.Duration
}

func newConfig(opts []Option) (*config, error) {
	c := &config{retention: defaultRetention}
	for i, option := range opts {
		if option == nil {
			return nil, paramError("Option", "", "option "+strconv.Itoa(i)+" is nil")
		}
		if err := option(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// WithLockTimeout sets how long [Open] waits for another process to close the file. The default is 0, one attempt. Use
// it where a process may start while its predecessor is still shutting down. Open tries again every 50 ms.
func WithLockTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return paramError("WithLockTimeout", d.String(), "want 0 or more")
		}
		c.lockTimeout = d
		return nil
	}
}

// WithRetention sets how long settled entries are kept; the default is 7 days. Within that time a call under a key that
// was used before gets the first result back. Less than 24 hours is refused: for that long the service answers a
// repeated key with the first approval, and only the journal knows that the function has run. Entries with duplicates
// are not kept longer: call letagentpay.Client.Recover within that time to learn of the money that they hold.
func WithRetention(d time.Duration) Option {
	return func(c *config) error {
		if d < keyLifetime {
			return paramError("WithRetention", d.String(), "want at least "+keyLifetime.String()+forKeys)
		}
		c.retention = d
		return nil
	}
}

func paramError(field, value, reason string) error {
	return &letagentpay.ParamError{Field: "bboltjournal." + field, Value: value, Reason: reason}
}
