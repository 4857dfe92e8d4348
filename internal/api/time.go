package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Time is an instant as POST answers, wallets and authorisations write it: in UTC, ending in Z.
type Time struct {
	time.Time
}

// OffsetTime is an instant as reads write it: in UTC, ending in +00:00, with microseconds unless they are zero.
type OffsetTime struct {
	time.Time
}

// MarshalJSON returns the instant in UTC, ending in Z.
func (t Time) MarshalJSON() ([]byte, error) { return appendTime(t.Time, "Z"), nil }

// MarshalJSON returns the instant in UTC, ending in +00:00.
func (t OffsetTime) MarshalJSON() ([]byte, error) { return appendTime(t.Time, "+00:00"), nil }

// UnmarshalJSON reads an instant in any form that the service writes; see [ParseTime].
func (t *Time) UnmarshalJSON(data []byte) error { return decodeTime(&t.Time, data) }

// UnmarshalJSON reads an instant in any form that the service writes; see [ParseTime].
func (t *OffsetTime) UnmarshalJSON(data []byte) error { return decodeTime(&t.Time, data) }

func appendTime(t time.Time, zone string) []byte {
	t = t.UTC()
	layout := `"2006-01-02T15:04:05`
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return append(append(t.AppendFormat(make([]byte, 0, 40), layout), zone...), '"')
}

func decodeTime(target *time.Time, data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return &TimeError{Value: string(data)}
	}
	parsed, err := ParseTime(text)
	if err != nil {
		return err
	}
	*target = parsed
	return nil
}

// TimeError reports a text that is no instant.
type TimeError struct {
	Value string
}

func (e *TimeError) Error() string {
	value := e.Value
	if len(value) > 64 {
		value = value[:64] + "…"
	}
	return fmt.Sprintf("invalid time %q: want RFC 3339, for example 2026-03-11T12:00:00Z", value)
}

// ParseTime reads RFC 3339 with any number of fractional digits, with a space for the T, and without a zone, which
// means UTC. The result is in UTC. The error is a [*TimeError].
func ParseTime(text string) (time.Time, error) {
	normal := text
	if len(normal) > len("2006-01-02") && normal[len("2006-01-02")] == ' ' {
		normal = strings.Replace(normal, " ", "T", 1)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, normal); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &TimeError{Value: text}
}
