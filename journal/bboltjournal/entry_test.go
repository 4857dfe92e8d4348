package bboltjournal

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
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
	} {
		_, err := decodeEntry("k", sealed("k", data))
		require.ErrorContains(t, err, want, data)
	}
	_, err := decodeEntry("k", []byte{1, 2, 3})
	require.ErrorContains(t, err, "3 bytes are no entry")
	_, err = decodeEntry("other", sealed("k", `{"Key":"k"}`))
	require.ErrorContains(t, err, "checksum")
}

// FuzzDecodeEntry: what decodes encodes to what decodes to the same.
func FuzzDecodeEntry(f *testing.F) {
	for _, state := range []letagentpay.JournalState{letagentpay.JournalAsked, letagentpay.JournalSettled} {
		value, err := encodeEntry(&letagentpay.JournalEntry{
			Key: "k", State: state, UpdatedAt: time.Unix(1, 2).UTC(), Result: []byte("result"), NewestIDs: []string{"a"},
			Purchase: letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("1.5"), Category: "x"},
		})
		require.NoError(f, err)
		f.Add("k", value, false)
		f.Add("k", value[checksumSize:], true)
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
		third, err := encodeEntry(same)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}
