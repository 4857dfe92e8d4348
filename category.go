package letagentpay

import (
	"context"
	"slices"
	"strings"
)

var separators = strings.NewReplacer(" ", "_", "-", "_")

// normalCategory returns the form of a category name in which the service compares names.
func normalCategory(name string) string {
	return separators.Replace(strings.ToLower(trimText(name)))
}

// relation is how a category name relates to the category of a request.
type relation int

const (
	notSame      relation = iota // not shown to be the same, and treated as different
	sameCategory                 // the name is that category, or resolves to it
	otherNames                   // both are categories of the account, and different
)

// relate reports how the name by which a caller describes a category relates to the category of a request. requestedAs
// are the names under which the request was made, if the answer, the journal or this process's memory show them:
//
//	the name is the category, or one of requestedAs         sameCategory
//	the name is another category of the account             otherNames
//	the name is an alias that an answer has resolved to it  sameCategory
//	the name is unknown, requestedAs is empty, and the
//	category is "other", to which unknown names resolve     sameCategory
//	otherwise                                               notSame
func (c *Client) relate(ctx context.Context, name, category string, requestedAs ...string) (relation, error) {
	name, category = normalCategory(name), normalCategory(category)
	if name == category {
		return sameCategory, nil
	}
	for _, requested := range requestedAs {
		if requested != "" && normalCategory(requested) == name {
			return sameCategory, nil
		}
	}
	names, err := c.Categories(ctx)
	if err != nil && len(requestedAs) == 0 {
		return notSame, err
	}
	if slices.Contains(names, name) {
		return otherNames, nil
	}
	known, isAlias := c.process.alias(aliasKey{c.identity, name})
	if isAlias && known == category || !isAlias && len(requestedAs) == 0 && category == "other" {
		return sameCategory, nil
	}
	return notSame, nil
}

// relateToAny relates a category name to all names of another purchase's category.
func (c *Client) relateToAny(ctx context.Context, name string, names []string) (relation, error) {
	for _, other := range names {
		relation, err := c.relate(ctx, name, other, names...)
		if err != nil || relation != otherNames {
			return relation, err
		}
	}
	return otherNames, nil
}

// sameCategory returns an error unless the category of a request is shown to be the one that the caller describes.
func (c *Client) sameCategory(ctx context.Context, requestID, category, described string, requestedAs ...string) error {
	relation, err := c.relate(ctx, described, category, requestedAs...)
	if err != nil || relation == sameCategory {
		return err
	}
	mismatch := &MismatchError{RequestID: requestID, Field: "Category", Requested: category, Described: described}
	if relation == otherNames {
		return &nextKeyError{err: mismatch}
	}
	return mismatch
}
