package letagentpay

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// consult finds out what is known of an own key before anything is asked under it.
func (c *claim) consult(ctx context.Context, scoped *scopedPurchase) (earlier *JournalEntry, err error) {
	entry, err := c.record.find(ctx)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		if entry.Category != "" {
			scoped.answered(entry.Category, entry.Purchase.Category)
		}
		if err := c.compareEntry(ctx, entry); err != nil {
			return nil, err
		}
		c.recall(entry)
		c.baseline, c.asked = baseline{!entry.NewestAt.IsZero(), entry.NewestAt, entry.NewestIDs}, entry.State == JournalAsked
		return c.past(ctx, entry)
	}
	c.baseline, err = c.client.newest(ctx)
	return nil, err
}

// consultAboutOthers finds out whether a request that an earlier call had asked for was resumed by its id meanwhile,
// before the journal knew which request the key had led to.
func (c *claim) consultAboutOthers(ctx context.Context) (earlier *JournalEntry, err error) {
	if c.config.journal == nil || !c.own || !c.asked && !c.known {
		return nil, nil
	}
	found, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, c.record.entry.Key)
	entry := found.entry
	if err != nil || entry == nil {
		return nil, err
	}
	if err := c.compareEntry(ctx, entry); err != nil {
		return nil, c.forget(ctx, err)
	}
	if earlier, err = c.past(ctx, entry); err != nil || earlier != nil {
		c.client.process.start(c.client.requestKey(c.requestID)) // the key's own entry says so no more
		if dropErr := c.record.drop(ctx); dropErr != nil {       // the other entry is the one that counts
			return nil, dropErr
		}
	}
	return earlier, err
}

// consultAboutResumed finds out what this process knows of a resumed request, and the journal, which has an entry of it if
// that is not nil.
func (c *claim) consultAboutResumed(ctx context.Context, entry *JournalEntry) (earlier *JournalEntry, err error) {
	if entry == nil {
		return nil, c.startedHere()
	}
	if err := c.compareEntry(ctx, entry); err != nil {
		return nil, err
	}
	if entry.State == JournalExecuted || entry.State == JournalSettled {
		return entry, nil
	}
	if err := c.startedHere(); err != nil {
		return nil, err
	}
	c.record.entry, c.recorded = *entry, true
	c.record.entry.Function = c.config.function // the one that runs, whichever has asked
	return nil, nil
}

// recall takes over what an entry says of the requests that an earlier call under the key has made.
func (c *claim) recall(entry *JournalEntry) {
	known := &c.record.entry
	known.Found, known.Unclear, known.Duplicates = slices.Clone(entry.Found), entry.Unclear, slices.Clone(entry.Duplicates)
	if entry.RequestID == "" {
		return
	}
	known.Found = append(known.Found, entry.RequestID) // it is a stray one, should the key lead to another now
	if len(entry.Duplicates) > 0 {
		known.RequestID = entry.RequestID
	}
	for _, id := range entry.Duplicates {
		c.client.process.noteDuplicate(c.client.requestKey(id), counted{entry.RequestID, c.params.IdempotencyKey})
	}
}

// compareEntry holds what the journal says was asked for against what the call describes.
func (c *claim) compareEntry(ctx context.Context, entry *JournalEntry) error {
	described, requested := contentOf(&c.params), contentOf(&entry.Purchase)
	if requested.currency == "" {
		requested.currency = entry.Currency
	}
	if err := described.mismatch(entry.RequestID, requested); err != nil {
		return err
	}
	if described.category == requested.category {
		return nil
	}
	category := entry.Category
	if category == "" {
		category = entry.Purchase.Category
	}
	return c.sameCategory(ctx, category, entry.Purchase.Category)
}

// past refuses what was started, and may have run, and returns the entry of what has run.
func (c *claim) past(ctx context.Context, entry *JournalEntry) (earlier *JournalEntry, err error) {
	switch entry.State {
	case JournalAsked:
		return nil, nil
	case JournalStarted:
		request, err := c.client.Request(ctx, entry.RequestID)
		if err != nil {
			return nil, err
		}
		handled := &AlreadyHandledError{Request: request, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true}
		if entry.Error != "" {
			handled.Err = errors.New(entry.Error)
		}
		if request.Status == StatusFailed {
			return nil, &errMovesOn{ended: true, err: handled}
		}
		return nil, handled
	default:
		return entry, nil
	}
}

// resume takes hold of a request that the caller has named, and of the key that the journal says it was made under: calls
// under that key write the same entry.
func (c *claim) resume(ctx context.Context) (earlier *JournalEntry, err error) {
	c.record.describe(c.client, "request", c.requestID, &c.params, c.config.function)
	for {
		if err := c.holdRequest(ctx); err != nil {
			return nil, err
		}
		found, err := c.client.ofRequest(ctx, c.config.journal, c.requestID, "")
		if err != nil {
			return nil, err
		}
		key := cmp.Or(c.client.keyOf(found.entry), c.client.keyOf(found.foundUnder))
		if key == c.entryKey {
			if err := c.isNoDuplicate(ctx, found.duplicateOf); err != nil {
				return nil, err
			}
			return c.consultAboutResumed(ctx, found.entry)
		}
		c.release()
		if c.entryKey = key; key == "" {
			continue
		}
		if err := c.notNested(ctx); err != nil {
			return nil, err
		}
		if err := c.holdKey(ctx); err != nil {
			return nil, err
		}
	}
}

// isNoDuplicate refuses a request that is known as a further one of a purchase, unless that itself has come to nothing. The
// journal says that it is a duplicate of the request named, if it is not empty.
func (c *claim) isNoDuplicate(ctx context.Context, of string) error {
	if of == "" {
		of = c.client.process.duplicateOf(c.client.requestKey(c.requestID))
	}
	if of == "" {
		return nil
	}
	state, err := c.client.Request(ctx, of)
	if err != nil {
		return err
	}
	switch state.Status {
	case StatusFailed, StatusRejected, StatusExpired:
		return nil
	}
	return c.duplicateOf(state)
}

// duplicateOf is the error of a request beside another one that counts.
func (c *claim) duplicateOf(counts *Request) error {
	key := c.params.IdempotencyKey
	return errors.Join(
		&AlreadyHandledError{Request: counts, IdempotencyKey: key, MayHaveRun: !counts.Status.Final() && counts.Status != StatusPending},
		&DuplicateError{RequestID: counts.RequestID, Duplicates: []string{c.requestID}, IdempotencyKey: key},
	)
}
