package bboltjournal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go"
)

const (
	checksumSize   = 4
	longestKey     = 32 << 10 // what bbolt takes
	longestEntry   = 16 << 20 // far beyond any real one, so that a damaged length does not ask for gigabytes
	longestKeyText = 80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the key, too, so that an entry in another's place is found out.
func checksum(key string, data []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, data)
}

// encodeEntry returns the value stored under the entry's key: a checksum, and JSON.
func encodeEntry(entry *letagentpay.JournalEntry) ([]byte, error) {
	if err := checkKey("JournalEntry.Key", entry.Key); err != nil {
		return nil, err
	}
	if !known(entry.State) {
		return nil, paramError("JournalEntry.State", string(entry.State), "want one of the package letagentpay's states")
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return nil, &letagentpay.ParamError{Field: "bboltjournal.JournalEntry", Reason: "want what encodes as JSON: " + err.Error(), Err: err}
	}
	if len(data) > longestEntry-checksumSize {
		return nil, paramError("JournalEntry", "", "want at most "+strconv.Itoa(longestEntry)+" bytes when encoded, not "+strconv.Itoa(len(data)))
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, checksumSize+len(data)), checksum(entry.Key, data)), data...), nil
}

// decodeEntry is the inverse of encodeEntry. It keeps no part of value.
func decodeEntry(key string, value []byte) (*letagentpay.JournalEntry, error) {
	if len(value) < checksumSize || len(value) > longestEntry {
		return nil, fmt.Errorf("%d bytes are no entry", len(value))
	}
	data := value[checksumSize:]
	if binary.BigEndian.Uint32(value) != checksum(key, data) {
		return nil, errors.New("the checksum does not match")
	}
	entry := new(letagentpay.JournalEntry)
	stored := storedEntry{JournalEntry: entry}
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, err
	}
	if entry.Key != key {
		return nil, fmt.Errorf("it is the entry of the key %q", entry.Key)
	}
	if !known(entry.State) {
		return nil, fmt.Errorf("its state %q is unknown", entry.State)
	}
	if stored.Purchase.Amount == nil {
		return nil, errors.New("it has no amount")
	}
	if stored.Confirm.Success == nil {
		return nil, errors.New("it does not say how the purchase ended")
	}
	entry.Purchase, entry.Purchase.Amount = stored.Purchase.PurchaseParams, *stored.Purchase.Amount
	entry.Confirm, entry.Confirm.Success = stored.Confirm.ConfirmParams, *stored.Confirm.Success
	return entry, nil
}

// storedEntry is an entry in which what money depends on must be given. Every entry has it, and one that another
// program has written in another form must not pass for a purchase of nothing, or for one that failed.
type storedEntry struct {
	*letagentpay.JournalEntry
	Purchase struct {
		letagentpay.PurchaseParams
		Amount *letagentpay.Amount
	}
	Confirm struct {
		letagentpay.ConfirmParams
		Success *bool
	}
}

func known(state letagentpay.JournalState) bool {
	switch state {
	case letagentpay.JournalAsked, letagentpay.JournalStarted, letagentpay.JournalExecuted, letagentpay.JournalSettled:
		return true
	}
	return false
}

func checkKey(field, key string) error {
	if key == "" || len(key) > longestKey || !utf8.ValidString(key) { // JSON would change other bytes
		return paramError(field, key[:min(len(key), longestKeyText)], "want 1 to "+strconv.Itoa(longestKey)+" bytes of UTF-8")
	}
	return nil
}
