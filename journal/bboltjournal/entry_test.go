package bboltjournal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
)

func sealed(key, data string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, checksum(key, []byte(data))), data...)
}

func TestEntriesThatMakeNoSense(t *testing.T) {
	for data, want := range map[string]string{
		"":                         "end of JSON",
		"null":                     `it is the entry of the key ""`,
		"[]":                       "cannot unmarshal",
		`{"Key":"a"}`:              `it is the entry of the key "a"`,
		`{"Key":"k"}`:              `its state "" is unknown`,
		`{"Key":"k","State":"x"}`:  `its state "x" is unknown`,
		`{"Key":"k"} {"Key":"k"}`:  "after top-level value",
		`{"Key":"k","Result":"!"}`: "illegal base64",

		`{"version":2}`:                            `it is the entry of the key ""`,
		`{"version":null,"key":"k"}`:               "it has version 0, and this program reads up to version 2",
		`{"version":3,"key":"k"}`:                  "it has version 3, and this program reads up to version 2",
		`{"version":"2"}`:                          "cannot unmarshal",
		`{"version":2,"key":"k"}`:                  "it has no service",
		`{"version":2,"key":"k","result":"!"}`:     "illegal base64",
		`{"version":2,"key":"k"} {"key":"k"}`:      "after top-level value",
		`{"version":2,"Key":"k"}`:                  "it has no key",
		whole(`"success":true`, `"success":1`):     "cannot unmarshal",
		whole(`"state":"returned"`, `"state":"x"`): `invalid Entry.State "x"`,
		whole(`"success":true`, `"success":false`): "invalid Entry.Error: want a text if Success is false",
	} {
		_, err := decodeEntry("k", sealed("k", data))
		require.ErrorContains(t, err, want, data)
	}
	_, err := decodeEntry("k", []byte{1, 2, 3})
	require.ErrorContains(t, err, "3 bytes are no entry")
	_, err = decodeEntry("other", sealed("k", `{"Key":"k"}`))
	require.ErrorContains(t, err, "checksum")
}

// whole returns an entry of the present form with a change.
func whole(old, changed string) string {
	const entry = `{"version":2,"key":"k","service":"s","agent":"a","state":"returned","amount":1.50,"success":true,` +
		`"actual_amount":0.00,"baseline_at":"0001-01-01T00:00:00Z","updated_at":"2026-02-03T04:06:07Z"}`
	return strings.Replace(entry, old, changed, 1)
}

func TestOwnersOfTheFirstFormAreInTheKey(t *testing.T) {
	for key, want := range map[string][2]string{
		"https://h:443/p c0ffee key turn 7": {"https://h:443/p", "c0ffee"},
		"https://h:443/p c0ffee request r1": {"https://h:443/p", "c0ffee"},
		"https://h:443/p c0ffee ":           {"https://h:443/p", "c0ffee"},
		"https://h:443/p c0ffee":            {"https://h:443/p", ""},
		"https://h:443/p":                   {"", ""},
	} {
		data := fmt.Sprintf(`{"Key":%q,"State":"asked","Purchase":{"Amount":1.5},"Confirm":{"Success":false}}`, key)
		entry, err := decodeEntry(key, sealed(key, data))
		require.NoError(t, err)
		require.Equal(t, want, [2]string{entry.Service, entry.Agent}, key)
	}
}

// Some programs recorded no reason, and the outcome is certain all the same.
func TestFailuresOfTheFirstFormWithoutAReasonAreRead(t *testing.T) {
	for state, want := range map[string]journal.Entry{
		"asked":    {State: journal.Requested},
		"started":  {State: journal.Started},
		"executed": {State: journal.Returned, Error: "the reason was not recorded"},
		"settled":  {State: journal.Settled, Error: "the reason was not recorded"},
	} {
		data := fmt.Sprintf(`{"Key":"k","State":%q,"Purchase":{"Amount":1.5},"Confirm":{"Success":false}}`, state)
		entry, err := decodeEntry("k", sealed("k", data))
		require.NoError(t, err)
		want.Version, want.Key, want.Amount = journal.Version, "k", letagentpay.MustAmount("1.5")
		require.Equal(t, &want, entry)
	}
}

// FuzzDecodeEntry: what decodes encodes to what decodes to the same.
func FuzzDecodeEntry(f *testing.F) {
	for _, state := range []journal.State{journal.Requested, journal.Settled} {
		value, err := encodeEntry(&journal.Entry{
			Version:     journal.Version,
			Key:         "k",
			State:       state,
			Amount:      letagentpay.MustAmount("1.5"),
			Category:    "x",
			Success:     true,
			Result:      []byte("result"),
			BaselineIDs: []string{"a"},
			UpdatedAt:   time.Unix(1, 2).UTC(),
		})
		require.NoError(f, err)
		f.Add("k", value, false)
		f.Add("k", value[checksumSize:], true)
	}
	for _, state := range []string{"asked", "started", "executed", "settled"} {
		data := fmt.Sprintf(`{"Key":"s a key k","State":%q,"Purchase":{"Amount":1.5,"Category":"x"},"Category":"y",`+
			`"Confirm":{"Success":false,"ActualAmount":0.00},"Result":"","NewestIDs":[],"Unclear":true}`, state)
		f.Add("s a key k", []byte(data), true)
	}
	f.Add("", []byte{}, false)
	f.Fuzz(func(t *testing.T, key string, value []byte, seal bool) {
		if seal { // or nothing would get past the checksum
			value = sealed(key, string(value))
		}
		entry, err := decodeEntry(key, value)
		if err != nil {
			require.Nil(t, entry)
			return
		}
		require.Equal(t, key, entry.Key)
		again, err := encodeEntry(entry)
		if err != nil {
			require.ErrorIs(t, err, letagentpay.ErrInvalid) // an empty key, or a time that JSON takes but does not give
			return
		}
		same, err := decodeEntry(key, again)
		require.NoError(t, err)
		require.True(t, entry.UpdatedAt.Equal(same.UpdatedAt) && entry.BaselineAt.Equal(same.BaselineAt))
		// JSON keeps the instant, not the zone's name.
		same.UpdatedAt, same.BaselineAt = entry.UpdatedAt, entry.BaselineAt
		require.Equal(t, entry, same)
		third, err := encodeEntry(same)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}
