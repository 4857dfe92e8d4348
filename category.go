package letagentpay

import (
	"context"
	"slices"
	"strings"
)

var separators = strings.NewReplacer(" ", "_", "-", "_")

// normalCategory brings the name of a category into the form in which the service compares names.
func normalCategory(name string) string {
	return separators.Replace(strings.ToLower(trimText(name)))
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

// relateToAny relates a category's name to all that an ordinal is known by.
func (c *Client) relateToAny(ctx context.Context, name string, names []string) (relation, error) {
	for _, other := range names {
		relation, err := c.relate(ctx, name, other, names...)
		if err != nil || relation != otherNames {
			return relation, err
		}
	}
	return otherNames, nil
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
