package letagentpay

import (
	"context"
	"errors"
	"slices"
)

// ask makes the purchase, unless a request is resumed, and takes hold of the request.
func (c *claim) ask(ctx context.Context, scoped *scopedPurchase) (earlier *JournalEntry, err error) {
	if err := c.notNested(ctx); err != nil {
		return nil, err
	}
	if c.resumed {
		return c.resume(ctx)
	}
	c.record.describe(c.client, "key", c.params.IdempotencyKey, &c.params, c.config.function)
	if c.own {
		if err := c.holdKey(ctx); err != nil {
			return nil, err
		}
		if earlier, err := c.consult(ctx, scoped); err != nil || earlier != nil {
			return earlier, err
		}
	} // else nobody can have asked under the key before, as if there were no requests
	c.record.entry.NewestAt, c.record.entry.NewestIDs = c.baseline.createdAt, c.baseline.ids
	if err := c.record.put(ctx, JournalAsked); err != nil {
		return nil, err
	}
	c.purchase, err = c.client.post(ctx, &c.params, c.baseline, !c.own, c.config.lockWait(), c.noteAnswer)
	if err != nil {
		return nil, c.refused(ctx, err)
	}
	c.noteInRecord(ctx)
	scoped.answered(c.purchase.Category, c.purchase.OriginalCategory)
	c.requestID = c.purchase.RequestID
	if err := c.holdRequest(ctx); err != nil {
		return nil, c.forget(ctx, err)
	}
	return c.consultAboutOthers(ctx)
}

// noteAnswer notes the request before anybody else can take it for a stray one. Under a random key it is this process's,
// unless the process knows it; under another key it is if it came after the baseline, which only a read shows.
func (c *claim) noteAnswer(purchase *Purchase) {
	if purchase.Status == StatusRejected {
		return
	}
	if c.known = c.client.standing(purchase.RequestID) != unknownHere; c.known {
		return
	}
	asked := &askedRequest{content: purchase.content(&c.params), name: c.params.Category}
	if c.own {
		since := c.baseline
		asked.since = &since
	}
	c.client.process.ask(c.client.requestKey(purchase.RequestID), asked)
}

// noteInRecord puts into the record what the answer says, and which of the requests that an earlier call found, without
// knowing which was the purchase, are not. The journal learns of them before the caller does, so that the purchase is not
// continued under one of them.
func (c *claim) noteInRecord(ctx context.Context) {
	entry := &c.record.entry
	known := len(entry.Duplicates)
	for _, id := range entry.Found {
		if id != c.purchase.RequestID && !slices.Contains(c.purchase.Duplicates, id) && !c.isOver(ctx, id) {
			c.purchase.Duplicates = append(c.purchase.Duplicates, id)
		}
	}
	for _, id := range entry.Duplicates {
		if id != c.purchase.RequestID && !slices.Contains(c.purchase.Duplicates, id) {
			c.purchase.Duplicates = append(c.purchase.Duplicates, id)
		}
	}
	entry.Currency, entry.Category = c.purchase.Currency, c.purchase.Category
	entry.Duplicates, entry.Found = c.purchase.Duplicates, nil
	entry.Unclear = entry.Unclear || c.purchase.posting != nil
	if len(entry.Duplicates) == known && (known == 0 || entry.RequestID == c.purchase.RequestID) {
		return
	}
	for _, id := range entry.Duplicates {
		c.client.process.noteDuplicate(c.client.requestKey(id), counted{c.purchase.RequestID, c.params.IdempotencyKey})
	}
	entry.RequestID = c.purchase.RequestID
	if c.record.put(context.WithoutCancel(ctx), JournalAsked) != nil {
		entry.RequestID = "" // wait and start write it again, and fail if they cannot
	}
}

// isOver reports whether a request that was found earlier has run since, resumed by its id, or has no money booked any
// more. Then it is no duplicate to be given back.
func (c *claim) isOver(ctx context.Context, requestID string) bool {
	switch c.client.standing(requestID) {
	case startedHere, finishedHere:
		return true
	}
	if found, err := c.client.ofRequest(ctx, c.config.journal, requestID, c.record.entry.Key); err != nil || found.entry != nil {
		return true
	}
	state, err := c.client.Request(ctx, requestID)
	return err == nil && state.Status.Final()
}

// remember notes that this process has asked for the request, and has surely not started it.
func (c *claim) remember() {
	c.client.process.ask(c.client.requestKey(c.requestID), &askedRequest{content: c.purchase.content(&c.params), name: c.params.Category})
}

// refused forgets the journal's entry of a purchase that certainly was not accepted.
func (c *claim) refused(ctx context.Context, err error) error {
	if unknown, ok := errors.AsType[*OutcomeUnknownError](err); ok || c.asked {
		if ok && unknown.alone && len(unknown.Found) > 0 {
			for _, id := range unknown.Found {
				if !slices.Contains(c.record.entry.Found, id) {
					c.record.entry.Found = append(c.record.entry.Found, id)
				}
			}
			c.record.entry.Unclear = true
			return withCleanup(err, c.record.put(context.WithoutCancel(ctx), JournalAsked))
		}
		return err
	}
	return withCleanup(err, c.record.drop(context.WithoutCancel(ctx)))
}

// forget drops the journal's entry of a purchase about which err is the last word.
func (c *claim) forget(ctx context.Context, err error) error {
	_, mismatch := errors.AsType[*MismatchError](err) // the entry is of this call, and the key another purchase's
	if err == nil || c.resumed || !settled(err) && (!mismatch || c.asked) {
		return err
	}
	if len(c.record.entry.Duplicates) > 0 {
		return err // Recover reports them until their money is back
	}
	dropErr := c.record.drop(context.WithoutCancel(ctx))
	if reason, ok := errors.AsType[*errMovesOn](err); ok {
		return &errMovesOn{reason.ended, withCleanup(reason.err, dropErr)}
	}
	return withCleanup(err, dropErr)
}

// startedHere refuses what this process has started and the service does not know to have ended.
func (c *claim) startedHere() error {
	if c.client.standing(c.requestID) != startedHere {
		return nil
	}
	known := &Request{RequestID: c.requestID, Status: StatusApproved, Amount: c.params.Amount, Category: c.params.Category}
	return &AlreadyHandledError{
		Request: known, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true,
		Err: errors.New("it has run, and is still to be confirmed"),
	}
}

// notFinishedHere refuses what this process has confirmed, should a read be so old that it does not show it.
func (c *claim) notFinishedHere(state *Request) error {
	if c.client.standing(c.requestID) != finishedHere || state.Status.Final() {
		return nil
	}
	return &AlreadyHandledError{
		Request: state, IdempotencyKey: c.params.IdempotencyKey, MayHaveRun: true,
		Err: errors.New("this process has confirmed it"),
	}
}
