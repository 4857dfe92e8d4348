package letagentpay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/letagentpay/letagentpay-go/journal"
)

// replay returns the result of an earlier run, and confirms the run if that has not been done.
func replay[Out any](ctx context.Context, c *Client, g *guardConfig, earlier *journal.Entry) (out Out, err error) {
	err = c.confirmEarlier(ctx, g, earlier)
	decodeErr := errors.New("its result could not be kept")
	switch {
	case earlier.Function != "" && earlier.Function != g.function:
		decodeErr = fmt.Errorf("its result is of another function, %s", earlier.Function)
	case earlier.Result != nil:
		out, decodeErr = runContained(hookLimit, func() (decoded Out, err error) {
			err = g.codec.Decode(earlier.Result, &decoded)
			return decoded, err
		})
	}
	if earlier.Error == "" && decodeErr == nil {
		return out, err
	}
	handled := alreadyHandled(earlier)
	if handled.Err == nil {
		handled.Err = decodeErr
	}
	return out, withCleanup(handled, err)
}

// confirmEarlier confirms an earlier run if that has not been done.
func (c *Client) confirmEarlier(ctx context.Context, g *guardConfig, earlier *journal.Entry) error {
	if earlier.State != journal.Returned {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	return c.confirmRecorded(ctx, &record{journal: g.journal, process: c.process, entry: *earlier})
}

// alreadyHandled is the error of a call whose purchase an earlier call has run.
func alreadyHandled(entry *journal.Entry) *AlreadyHandledError {
	confirmed := outcomeOfEntry(entry)
	handled := &AlreadyHandledError{
		Request: &Request{
			RequestID: entry.RequestID,
			Status:    confirmed.status(),
			Amount:    entry.Amount,
			Category:  entry.ResolvedCategory,
		},
		IdempotencyKey: entry.IdempotencyKey,
		MayHaveRun:     true,
		Reason:         reasonReturned,
	}
	if entry.Error != "" {
		handled.Err = errors.New(entry.Error)
	}
	return handled
}

// ResultCodec encodes the results of guarded functions for the journal, and decodes them. It must be safe for
// concurrent use. A call that takes more than 5 seconds, panics or ends its goroutine counts as failed. See
// [WithResultCodec].
type ResultCodec interface {
	// Encode returns the encoded result.
	Encode(result any) ([]byte, error)
	// Decode decodes data into result, a pointer to a value of the type that was encoded.
	Decode(data []byte, result any) error
}

type jsonCodec struct{}

func (jsonCodec) Encode(result any) ([]byte, error) { return json.Marshal(result) }

func (jsonCodec) Decode(data []byte, result any) error { return json.Unmarshal(data, result) }

// maxJournalResult is the size in bytes of the largest encoded result that is kept.
const maxJournalResult = 64 << 10

// recordResult keeps the result of a guarded function for the journal.
func recordResult[Out any](a *Approval, g *guardConfig, result Out) {
	if g.journal == nil {
		return
	}
	encoded, encodeErr := runContained(hookLimit, func() ([]byte, error) { return encodeFaithfully(g.codec, result) })
	if encodeErr == nil && len(encoded) <= maxJournalResult {
		a.mu.Lock()
		a.result = encoded
		a.mu.Unlock()
	}
}

var errUnfaithful = errors.New("the decoded result would differ")

// encodeFaithfully encodes a result, unless it would decode to another one: JSON drops unexported fields, and decodes
// what an interface holds as a map.
func encodeFaithfully[Out any](codec ResultCodec, result Out) ([]byte, error) {
	encoded, err := codec.Encode(result)
	if err != nil {
		return nil, err
	}
	var back Out
	if err := codec.Decode(bytes.Clone(encoded), &back); err != nil {
		return nil, err
	}
	if !sameValue(reflect.ValueOf(&result).Elem(), reflect.ValueOf(&back).Elem()) {
		return nil, errUnfaithful
	}
	return encoded, nil
}
