package letagentpay

import (
	"context"
	"slices"
	"time"
)

// baseline is when the newest request was created, at a moment, and all requests of that instant; zero if there was none.
type baseline struct {
	taken     bool
	createdAt time.Time
	ids       []string
}

// isBefore reports whether a request surely came into being after the baseline. All that is compared are the service's
// own stamps, so nobody's clock matters; any doubt counts as before.
func (b baseline) isBefore(state *Request) bool {
	return state.CreatedAt.After(b.createdAt) || state.CreatedAt.Equal(b.createdAt) && !slices.Contains(b.ids, state.RequestID)
}

// currentBaseline returns the baseline of this moment.
func (c *Client) currentBaseline(ctx context.Context) (baseline, error) {
	b := baseline{taken: true}
	for _, limit := range []int{5, maxPageSize} { // several requests in one microsecond are rare, and more than five rarer
		page, err := c.page(ctx, pageParams{limit: limit})
		if err != nil || len(page) == 0 {
			return b, err
		}
		b.createdAt, b.ids = page[0].CreatedAt, nil
		for i := range page {
			if !page[i].CreatedAt.Equal(b.createdAt) {
				return b, nil
			}
			b.ids = append(b.ids, page[i].RequestID)
		}
		if len(page) < limit {
			return b, nil
		}
	}
	b.createdAt = b.createdAt.Add(1) // not all of that instant are known, so none counts as later
	return b, nil
}
