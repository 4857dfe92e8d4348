package letagentpay

import (
	"errors"
	"fmt"
	"strings"

	"github.com/letagentpay/letagentpay-go/journal"
)

// entryKey returns the key of a journal's entry. Stored entries are found by it, so its form must not change. Kinds
// keep idempotency keys and request ids apart.
func (c *Client) entryKey(kind, name string) string { return c.identity + kind + " " + name }

// keyOf returns the idempotency key that an entry is of. It is empty for no entry, for the entry of a resumed request,
// and for an entry of another token.
func (c *Client) keyOf(entry *journal.Entry) string {
	if entry == nil || entry.Key != c.entryKey("key", entry.IdempotencyKey) {
		return ""
	}
	return entry.IdempotencyKey
}

// sameService reports whether an entry is of the client's service. That is enough when the request's id is known: the
// entry may have been written under an earlier token.
func (c *Client) sameService(entry *journal.Entry) bool { return entry.Service == c.service }

// owns reports whether an entry is of the client's service and token.
func (c *Client) owns(entry *journal.Entry) bool {
	return c.sameService(entry) && entry.Agent == c.agent
}

// checkValid returns an error if an entry lacks what money depends on: a store that loses fields must not turn a paid
// purchase into one that failed.
func checkValid(entry *journal.Entry) error {
	err := entry.Validate()
	if err == nil && !isOfItsKey(entry) {
		err = errors.New("want the fields that the key is made of: Service, Agent, IdempotencyKey")
	}
	if err != nil {
		return fmt.Errorf("the entry of the key %s: %w", quoted(entry.Key, sampleText), err)
	}
	return nil
}

// isOfItsKey reports whether the fields of an entry are those of its key, see entryKey: a store that loses one of them
// must not make the entry another agent's or another key's.
func isOfItsKey(entry *journal.Entry) bool {
	kinds := entry.Service + " " + entry.Agent + " "
	return entry.Key == kinds+"key "+entry.IdempotencyKey || strings.HasPrefix(entry.Key, kinds+"request ")
}

// setPurchase sets the purchase of an entry. It leaves Ref out, because the idempotency key names the purchase.
func setPurchase(entry *journal.Entry, p *PurchaseParams) {
	entry.IdempotencyKey = p.IdempotencyKey
	entry.Amount, entry.Currency, entry.Category = p.Amount, p.Currency, p.Category
	entry.MerchantName, entry.Description, entry.AgentComment = p.MerchantName, p.Description, p.AgentComment
}

// purchaseOfEntry returns the purchase of an entry. It is the inverse of setPurchase.
func purchaseOfEntry(entry *journal.Entry) PurchaseParams {
	return PurchaseParams{
		Amount:         entry.Amount,
		Category:       entry.Category,
		Currency:       entry.Currency,
		MerchantName:   entry.MerchantName,
		Description:    entry.Description,
		AgentComment:   entry.AgentComment,
		IdempotencyKey: entry.IdempotencyKey,
	}
}

// setOutcome sets the outcome of an entry.
func setOutcome(entry *journal.Entry, p ConfirmParams) {
	entry.Success, entry.ActualAmount, entry.ReceiptURL = p.Success, p.ActualAmount, p.ReceiptURL
}

// outcomeOfEntry returns the outcome of an entry. It is the inverse of setOutcome.
func outcomeOfEntry(entry *journal.Entry) ConfirmParams {
	return ConfirmParams{Success: entry.Success, ActualAmount: entry.ActualAmount, ReceiptURL: entry.ReceiptURL}
}

// contentOfEntry returns the identity of the purchase of an entry, as the caller described it.
func contentOfEntry(entry *journal.Entry) content {
	p := purchaseOfEntry(entry)
	return contentOf(&p)
}
