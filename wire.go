package letagentpay

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

var (
	errNoObject   = errors.New("want a JSON object")
	errNoArray    = errors.New("want a JSON array")
	errIncomplete = errors.New("a required field is missing")
	errTooDeep    = errors.New("the JSON is nested too deeply")
	errTooMany    = errors.New("a JSON object has too many members")
)

// fetch makes a call and returns the body of its answer, which must have the shape and pass the check. A nil check
// accepts every body.
func fetch[Body any](ctx context.Context, t *transport, c *call, want *shape, check func(*Body) error) (*Body, error) {
	var body *Body
	c.decode = func(data []byte) error {
		body = new(Body)
		if err := decodeAs(data, body, want); err != nil || check == nil {
			return err
		}
		return check(body)
	}
	if err := t.do(ctx, c); err != nil {
		return nil, err
	}
	return body, nil
}

// decodeAs decodes a JSON value of a shape, an object or an array of objects, and nothing else; a null would leave the
// target as it is and look like success. Beyond what encoding/json checks, it refuses what can be read in two ways or
// would be guessed at: members whose names differ in case alone, at any depth, members whose names are known in another
// case, and missing members of the shape. The target is of no use when there is an error.
func decodeAs(data []byte, target any, want *shape) error {
	switch first := firstOf(data); {
	case want.array && first != '[':
		return errNoArray
	case !want.array && first != '{':
		return errNoObject
	}
	if err := json.Unmarshal(data, target); err != nil {
		return err
	}
	return checkShape(data, want)
}

// optional returns nil for an empty string, which the wire form leaves out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func amountOf(d *api.DecimalString) *Amount {
	if d == nil {
		return nil
	}
	return &d.Amount
}

func timeOf[T api.Time | api.OffsetTime](t *T) time.Time {
	if t == nil {
		return time.Time{}
	}
	return api.Time(*t).Time
}

// listIn returns the list that a pointer leads to, nil without one.
func listIn(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}
