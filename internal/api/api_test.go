package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/money"
)

func TestDecimalString(t *testing.T) {
	encoded, err := json.Marshal(api.Budget{
		Budget:    api.DecimalString{Amount: money.Must("490")},
		Remaining: api.DecimalString{Amount: money.Must("3.5").Neg()},
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"budget":"490.00","spent":"0.00","held":"0.00","remaining":"-3.50","currency":""}`,
		string(encoded))
	for _, text := range []string{`"490.00"`, `490`, `490.0`} {
		var d api.DecimalString
		require.NoError(t, json.Unmarshal([]byte(text), &d))
		assert.Equal(t, money.Must("490"), d.Amount)
	}
}

func TestTimes(t *testing.T) {
	want := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	for text, fraction := range map[string]time.Duration{
		"2026-03-11T12:00:00Z":                0,
		"2026-03-11T12:00:00+00:00":           0,
		"2026-03-11T12:00:00":                 0,
		"2026-03-11 12:00:00":                 0,
		"2026-03-11T14:30:00+02:30":           0,
		"2026-03-11T12:00:00.5Z":              500 * time.Millisecond,
		"2026-03-11T12:00:00.123456+00:00":    123456 * time.Microsecond,
		"2026-03-11T12:00:00.123456":          123456 * time.Microsecond,
		"2026-03-11 12:00:00.123456789+00:00": 123456789,
	} {
		var z api.Time
		var offset api.OffsetTime
		encoded, err := json.Marshal(text)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(encoded, &z), text)
		require.NoError(t, json.Unmarshal(encoded, &offset), text)
		assert.Equal(t, want.Add(fraction), z.Time, text)
		assert.Equal(t, want.Add(fraction), offset.Time, text)
	}
	for _, text := range []string{
		`""`, `"soon"`, `"2026-03-11"`, `"2026-13-11T12:00:00Z"`, `7`, `{}`, `"2026-03-11T12:00:00+"`,
	} {
		var z api.Time
		err := json.Unmarshal([]byte(text), &z)
		var timeError *api.TimeError
		require.ErrorAs(t, err, &timeError, text)
		assert.Zero(t, z)
	}
	later := want.Add(250 * time.Microsecond)
	for text, at := range map[string]time.Time{
		`["2026-03-11T12:00:00Z","2026-03-11T12:00:00+00:00"]`:               want,
		`["2026-03-11T12:00:00.000250Z","2026-03-11T12:00:00.000250+00:00"]`: later.In(time.FixedZone("x", 3600)),
	} {
		encoded, err := json.Marshal([]any{api.Time{Time: at}, api.OffsetTime{Time: at}})
		require.NoError(t, err)
		assert.Equal(t, text, string(encoded))
	}
}

func FuzzTime(f *testing.F) {
	for _, text := range []string{
		"2026-03-11T12:00:00Z", "2026-03-11 12:00:00.5", "2026-03-11T12:00:00.123456+05:30", "", "-",
		"0000-01-01T00:00:00Z",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := api.ParseTime(text)
		if err != nil {
			return
		}
		at = at.Truncate(time.Microsecond)
		encoded, err := json.Marshal(api.OffsetTime{Time: at})
		require.NoError(t, err)
		var again api.OffsetTime
		if year := at.Year(); year >= 0 && year <= 9999 { // a zone may push the instant out of what RFC 3339 can write
			require.NoError(t, json.Unmarshal(encoded, &again))
			require.True(t, at.Equal(again.Time), "%s became %s", at, again.Time)
		}
	})
}
