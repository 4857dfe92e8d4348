package letagentpay

import (
	"context"
	"slices"
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

var separators = strings.NewReplacer(" ", "_", "-", "_")

// normalCategory brings the name of a category into the form in which the service compares names.
func normalCategory(name string) string {
	return separators.Replace(strings.ToLower(trimText(name)))
}

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

// relation is how the name of a category relates to the category of a request.
type relation int

const (
	notSame      relation = iota // not shown to be the same, which is treated as different
	sameCategory                 // the name is that category
	otherNames                   // both are categories of the account, and not the same
)

// relate reports whether a name that the caller uses for a category may have been resolved to category. An answer to a
// purchase, a journal and this process's memory tell the name that was asked under. Without them, names of the account's
// categories resolve to themselves; of other names no read tells where they lead: an alias counts when an earlier answer
// has shown where it leads, and a name that the account does not know leads to "other".
func (c *Client) relate(ctx context.Context, name, category string, askedUnder ...string) (relation, error) {
	name, category = normalCategory(name), normalCategory(category)
	if name == category {
		return sameCategory, nil
	}
	for _, asked := range askedUnder {
		if asked != "" && normalCategory(asked) == name {
			return sameCategory, nil
		}
	}
	names, err := c.Categories(ctx)
	if err != nil && len(askedUnder) == 0 {
		return notSame, err
	}
	if slices.Contains(names, name) {
		return otherNames, nil
	}
	known, isAlias := c.process.alias(aliasKey{c.identity, name})
	if isAlias && known == category || !isAlias && len(askedUnder) == 0 && category == "other" {
		return sameCategory, nil
	}
	return notSame, nil
}

// sameCategory refuses the category of a request that is not shown to be the one that the caller describes.
func (c *Client) sameCategory(ctx context.Context, requestID, category, described string, askedUnder ...string) error {
	relation, err := c.relate(ctx, described, category, askedUnder...)
	if err != nil || relation == sameCategory {
		return err
	}
	mismatch := &MismatchError{RequestID: requestID, Field: "Category", Requested: category, Described: described}
	if relation == otherNames {
		return &errMovesOn{err: mismatch}
	}
	return mismatch
}
