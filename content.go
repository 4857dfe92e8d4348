package letagentpay

import (
	"strings"
	"unicode"
)

// content is what makes two purchases the same: the one definition that scopes, journals, resuming, repeated keys and
// mismatches use. The comment for the reviewer and the idempotency key are no part of it.
type content struct {
	amount      Amount
	currency    string // upper case; empty: the account's, which is the only one that the service accepts
	category    string // normal form; see sameCategory for what it may have been resolved to
	merchant    string
	description string
}

func contentOf(p *PurchaseParams) content {
	return content{p.Amount, strings.ToUpper(p.Currency), normalCategory(p.Category), trimText(p.MerchantName), trimText(p.Description)}
}

// trimText removes white space and invisible characters around a text.
func trimText(text string) string {
	if text == "" || plain(text[0]) && plain(text[len(text)-1]) {
		return text
	}
	return strings.TrimFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
	})
}

func plain(c byte) bool { return c > ' ' && c < 0x7f }

// mismatch compares all but the category, and what is not known on either side.
func (described content) mismatch(requestID string, requested content) error {
	differs := func(field, requested, described string) error {
		return &MismatchError{RequestID: requestID, Field: field, Requested: requested, Described: described}
	}
	switch {
	case described.amount != requested.amount:
		return differs("Amount", requested.amount.String(), described.amount.String())
	case described.currency != "" && requested.currency != "" && described.currency != requested.currency:
		return differs("Currency", requested.currency, described.currency)
	case described.merchant != requested.merchant:
		return differs("MerchantName", requested.merchant, described.merchant)
	case described.description != requested.description:
		return differs("Description", requested.description, described.description)
	}
	return nil
}
