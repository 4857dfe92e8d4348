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

// fetch makes a call and returns the decoded body of its response, which must have the shape want and pass check. A nil
// check accepts every body.
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

// decodeAs decodes a JSON object or an array of objects of the given shape. It refuses every other value, null
// included: null would leave the target unchanged and look like success.
//
// It also refuses what encoding/json would guess: at any depth, members whose names differ only in case; a member whose
// name is known in another case; and a missing required member. If it returns an error, target must not be used.
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

// optional returns a pointer to s, or nil for an empty s, which the request then omits.
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

// derefList returns the list that a pointer points to, or nil.
func derefList(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}
