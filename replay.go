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

// replay gives the result of an earlier run back, and reports it to the service if that is still to be done.
func replay[Out any](ctx context.Context, c *Client, g *guardConfig, earlier *journal.Entry) (out Out, err error) {
	err = c.confirmEarlier(ctx, g, earlier)
	decodeErr := errors.New("its result could not be kept")
	switch {
	case earlier.Function != "" && earlier.Function != g.function:
		decodeErr = fmt.Errorf("its result is of another function, %s", earlier.Function)
	case earlier.Result != nil:
		out, decodeErr = contained(hookLimit, func() (decoded Out, err error) {
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

// confirmEarlier reports an earlier run to the service if that is still to be done.
func (c *Client) confirmEarlier(ctx context.Context, g *guardConfig, earlier *journal.Entry) error {
	if earlier.State != journal.Returned {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	return c.confirmRecorded(ctx, &record{journal: g.journal, process: c.process, entry: *earlier})
}

// alreadyHandled returns the error for a call that an earlier one already handled.
func alreadyHandled(entry *journal.Entry) *AlreadyHandledError {
	confirmed := outcomeOfEntry(entry)
	handled := &AlreadyHandledError{
		Reason:         reasonReturned,
		Request:        &Request{RequestID: entry.RequestID, Status: confirmed.status(), Amount: entry.Amount, Category: entry.ResolvedCategory},
		IdempotencyKey: entry.IdempotencyKey,
	}
	if entry.Error != "" {
		handled.Err = errors.New(entry.Error)
	}
	return handled
}

// ResultCodec turns the results of guarded functions into bytes and back, for the journal.
type ResultCodec interface {
	Encode(result any) ([]byte, error)
	Decode(data []byte, result any) error // result is a pointer
}

type jsonCodec struct{}

func (jsonCodec) Encode(result any) ([]byte, error) { return json.Marshal(result) }

func (jsonCodec) Decode(data []byte, result any) error { return json.Unmarshal(data, result) }

// maxJournalResult is how much of a function's result a journal keeps.
const maxJournalResult = 64 << 10

// recordResult holds what a guarded function returned, for the journal.
func recordResult[Out any](a *Approval, g *guardConfig, result Out) {
	if g.journal == nil {
		return
	}
	encoded, encodeErr := contained(hookLimit, func() ([]byte, error) { return encodeFaithfully(g.codec, result) })
	if encodeErr == nil && len(encoded) <= maxJournalResult {
		a.mu.Lock()
		a.result = encoded
		a.mu.Unlock()
	}
}

var errUnfaithful = errors.New("it would come back changed")

// encodeFaithfully encodes a result, unless it would come back as another one: JSON drops unexported fields, and what an
// interface holds comes back as a map.
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
