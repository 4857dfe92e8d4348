package bboltjournal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal"
)

const (
	checksumSize = 4
	longestEntry = 16 << 20 // far above any real one, so that a damaged length does not allocate gigabytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the key as well, so that an entry in another's place is noticed.
func checksum(key string, data []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, data)
}

// encodeEntry returns the value stored under the entry's key: a checksum, and JSON in the present form.
func encodeEntry(entry *journal.Entry) ([]byte, error) {
	if err := entry.Validate(); err != nil {
		var invalid *journal.EntryError
		errors.As(err, &invalid)
		return nil, &letagentpay.ParamError{
			Field:  "bboltjournal.Entry." + invalid.Field,
			Value:  invalid.Value,
			Reason: invalid.Reason,
			Err:    err,
		}
	}
	data, err := json.Marshal(entry)
	if err != nil {
		reason := "want an entry that encodes as JSON: " + err.Error()
		return nil, &letagentpay.ParamError{Field: "bboltjournal.Entry", Reason: reason, Err: err}
	}
	if len(data) > longestEntry-checksumSize {
		reason := fmt.Sprintf("want at most %d bytes when encoded, not %d", longestEntry-checksumSize, len(data))
		return nil, paramError("Entry", "", reason)
	}
	value := make([]byte, 0, checksumSize+len(data))
	value = binary.BigEndian.AppendUint32(value, checksum(entry.Key, data))
	return append(value, data...), nil
}

// decodeEntry is the inverse of encodeEntry, and reads the first form as well. It keeps no part of value.
func decodeEntry(key string, value []byte) (*journal.Entry, error) {
	if len(value) < checksumSize || len(value) > longestEntry {
		return nil, fmt.Errorf("%d bytes are no entry", len(value))
	}
	data := value[checksumSize:]
	if binary.BigEndian.Uint32(value) != checksum(key, data) {
		return nil, errors.New("the checksum does not match")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	var entry *journal.Entry
	var err error
	if _, ok := fields["version"]; ok {
		entry, err = decodePresentForm(key, data, fields)
	} else {
		entry, err = decodeFirstForm(key, data)
	}
	if err != nil {
		return nil, err
	}
	if err := entry.Validate(); err != nil {
		return nil, err
	}
	return entry, nil
}

// required are the names of the fields that money depends on. Every entry of the present form has them. Without one, an
// entry would pass for a purchase that failed, for one of nothing, or for no agent's.
var required = []string{
	"version", "key", "service", "agent", "state", "amount", "success", "actual_amount", "baseline_at", "updated_at",
}

// decodePresentForm returns the entry of a key that data holds in the present form. fields are the fields of data.
func decodePresentForm(key string, data []byte, fields map[string]json.RawMessage) (*journal.Entry, error) {
	entry := new(journal.Entry)
	if err := json.Unmarshal(data, entry); err != nil {
		return nil, err
	}
	if entry.Version != journal.Version {
		const text = "it has version %d, and this program reads up to version %d"
		return nil, fmt.Errorf(text, entry.Version, journal.Version)
	}
	if entry.Key != key {
		return nil, fmt.Errorf("it is the entry of the key %q", entry.Key)
	}
	for _, name := range required {
		if value, ok := fields[name]; !ok || string(value) == "null" {
			return nil, fmt.Errorf("it has no %s", name)
		}
	}
	return entry, nil
}
