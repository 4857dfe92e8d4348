package letagentpay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// row is an entry of the request list for the purchase of groceries.
func row(id, status, createdAt, merchant string) string {
	return `{"request_id":"` + id + `","status":"` + status + `","amount":49.99,"currency":"USD",` +
		`"category":"groceries","merchant":"` + merchant + `","description":null,` +
		`"created_at":"` + createdAt + `","reviewed_at":null,"expires_at":null}`
}

const created = "2026-03-11T12:00:00.123456+00:00" // as in detail

func TestReadFromBeforeTheConfirmationRunsNothingAgain(t *testing.T) {
	for name, resumed := range map[string]bool{"under the key": false, "resumed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := approving(t).on("GET", "/requests", list("")).
					on("GET", "/requests/r1", answer(200, detail("auto_approved")))
				var runs atomic.Int64
				guarded := guardGroceries(s.client(), &runs, succeed)
				_, err := guarded(t.Context(), keyed())
				require.NoError(t, err)

				ctx, p := t.Context(), keyed()
				if resumed {
					ctx, p = letagentpay.ResumeApproval(ctx, "r1"), groceries()
				}
				_, err = guarded(ctx, p)
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
				assert.True(t, handled.MayHaveRun)
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

func TestResumedRequestIsComparedWithTheListAsItIsNow(t *testing.T) {
	pending, approved := row("r1", "pending", created, "Corner Shop"), row("r1", "approved", created, "Corner Shop")
	for name, c := range map[string]struct {
		lists []string
		runs  int64
		want  any
	}{
		"listed as it was read":     {[]string{pending}, 1, nil},
		"decided since it was read": {[]string{"", approved}, 1, nil},
		"of another merchant": {
			[]string{row("r1", "pending", created, "Casino")}, 0, new(*letagentpay.MismatchError),
		},
		"not listed": {[]string{""}, 0, new(*letagentpay.APIError)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t).on("GET", "/requests/r1", answer(200, detail("pending")),
					answer(200, detail("approved"))).
					on("POST", "/requests/r1/confirm", answer(200, confirmed))
				switch len(c.lists) {
				case 1:
					s.on("GET", "/requests", list(c.lists[0]))
				default:
					s.on("GET", "/requests", list(c.lists[0]), list(c.lists[1]))
				}
				var runs atomic.Int64
				p := groceries()
				p.MerchantName = "Corner Shop"
				_, err := guardGroceries(s.client(), &runs, succeed)(letagentpay.ResumeApproval(t.Context(), "r1"), p)
				if c.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorAs(t, err, c.want)
				}
				assert.Equal(t, c.runs, runs.Load())
			})
		})
	}
}

func TestRequestAmongOthersOfOneInstantIsNotThisCalls(t *testing.T) {
	for _, listed := range []string{
		item("r1", created) + "," + item("r0", created), item("r0", created) + "," + item("r1", created),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := approving(t).on("GET", "/requests", list(listed)).
				on("GET", "/requests/r1", answer(200, detail("approved")))
			var runs atomic.Int64
			_, err := guardGroceries(s.client(), &runs, succeed)(t.Context(), keyed())
			var handled *letagentpay.AlreadyHandledError
			require.ErrorAs(t, err, &handled)
			assert.Zero(t, runs.Load())
		})
	}
}

func TestResumedRequestIsFoundHoweverOldItIs(t *testing.T) {
	for _, newer := range []int{10, 20, 50} { // on the first page, first on the second page, within the second page
		t.Run(fmt.Sprint(newer, " newer"), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				server := serve(t, letagentpaytest.WithBudget(letagentpay.MustAmount("5000")))
				client := server.Client(elsewhere())
				old, err := client.Purchase(t.Context(), price("60"))
				require.NoError(t, err)
				for range newer {
					time.Sleep(2 * time.Second)
					_, err := client.Purchase(t.Context(), price("61"))
					require.NoError(t, err)
				}
				server.OnPending(nil)
				time.AfterFunc(time.Minute, func() { assert.NoError(t, server.Approve(old.RequestID)) })
				var runs atomic.Int64
				resuming := letagentpay.ResumeApproval(t.Context(), old.RequestID)
				_, err = guardGroceries(server.Client(elsewhere()), &runs, succeed)(resuming, price("60"))
				require.NoError(t, err)
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}
