package letagentpay

import (
	"encoding/json"
	"errors"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

var (
	errNoObject   = errors.New("want a JSON object")
	errNoArray    = errors.New("want a JSON array")
	errIncomplete = errors.New("a required field is missing")
	errTooDeep    = errors.New("the JSON is nested too deeply")
	errTooMany    = errors.New("a JSON object has too many members")
)

// decodeObject decodes a JSON object and nothing else; a null would leave the target as it is and look like success.
// Beyond what encoding/json checks, it refuses what can be read in two ways or would be guessed at: members whose names
// differ in case alone, at any depth, members whose names are known in another case, and missing members of the shape.
// The target is of no use when there is an error.
func decodeObject(data []byte, target any, want *shape) error {
	if firstOf(data) != '{' {
		return errNoObject
	}
	return decodeShaped(data, target, want)
}

// decodeArray is decodeObject for an array of objects of one shape.
func decodeArray(data []byte, target any, want *shape) error {
	if firstOf(data) != '[' {
		return errNoArray
	}
	return decodeShaped(data, target, want)
}

func decodeShaped(data []byte, target any, want *shape) error {
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
