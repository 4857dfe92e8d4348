package letagentpay

import (
	"context"
	"slices"
	"time"
)

// baseline is the creation time of the agent's newest request and the ids of all requests created then, as they were at
// one moment: what is not in it and not older was created later. It is zero when there was no request.
type baseline struct {
	taken     bool
	createdAt time.Time
	ids       []string
}

// isBefore reports whether a request was certainly created after the baseline was taken. Only the service's own stamps
// are compared, so that no other clock matters. Doubt counts as earlier.
func (b baseline) isBefore(state *Request) bool {
	return state.CreatedAt.After(b.createdAt) || state.CreatedAt.Equal(b.createdAt) &&
		!slices.Contains(b.ids, state.RequestID)
}

// currentBaseline reads the baseline of this moment.
func (c *Client) currentBaseline(ctx context.Context) (baseline, error) {
	b := baseline{taken: true}
	for _, limit := range []int{5, maxPageSize} { // more than five requests in one microsecond are rare
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
	b.createdAt = b.createdAt.Add(1) // not all requests of that time are known, so none of them counts as later
	return b, nil
}
