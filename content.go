package letagentpay

import (
	"strings"
	"unicode"
)

// content is the identity of a purchase: two purchases are the same if their contents are. Scopes, journals, resuming,
// repeated keys, mismatches and duplicates all use it. The agent's comment, Ref and the idempotency key do not belong
// to it.
type content struct {
	amount      Amount
	currency    string // in upper case; empty: the account's, the only one that the service accepts
	category    string // in normal form, as described or as resolved: compared by Client.relate, not by mismatch
	merchant    string
	description string
}

func contentOf(p *PurchaseParams) content {
	return content{
		amount:      p.Amount,
		currency:    strings.ToUpper(p.Currency),
		category:    normalCategory(p.Category),
		merchant:    trimText(p.MerchantName),
		description: trimText(p.Description),
	}
}

// trimText removes leading and trailing white space and invisible characters.
func trimText(text string) string {
	if text == "" || plain(text[0]) && plain(text[len(text)-1]) {
		return text
	}
	return strings.TrimFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
	})
}

func plain(c byte) bool { return c > ' ' && c < 0x7f }

// withoutNames returns the part of a content that does not depend on how the category and the currency are described.
func (described content) withoutNames() content {
	described.category, described.currency = "", ""
	return described
}

// mismatch returns an error when the contents differ. It does not compare the categories, nor the currencies unless
// both are known.
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
