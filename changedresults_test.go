package letagentpay_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// changing is a codec that decodes every result as decoded.
type changing[Out any] struct{ decoded Out }

func (changing[Out]) Encode(any) ([]byte, error) { return []byte("x"), nil }
func (c changing[Out]) Decode(_ []byte, result any) error {
	*result.(*Out) = c.decoded
	return nil
}

// repeatCall makes a guarded call twice under one key, with a codec that decodes its result as decoded. The second call
// returns the result where same is set.
func repeatCall[Out any](t *testing.T, name string, result, decoded Out, same bool) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			guarded := letagentpay.Guard(server.Client(),
				func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
				func(context.Context, letagentpay.PurchaseParams) (Out, error) {
					runs.Add(1)
					return result, nil
				}, letagentpay.WithJournal(new(memoryJournal)), letagentpay.WithResultCodec(changing[Out]{decoded}))
			_, err := guarded(t.Context(), underKey("30", "turn-7"))
			require.NoError(t, err)
			_, err = guarded(t.Context(), underKey("30", "turn-7"))
			if same {
				require.NoError(t, err)
			} else {
				var handled *letagentpay.AlreadyHandledError
				require.ErrorAs(t, err, &handled)
			}
			assert.EqualValues(t, 1, runs.Load())
		})
	})
}

type chain struct{ next *chain }

func TestResultsThatACodecChangesAreNotGivenBack(t *testing.T) {
	type order struct{ Items []string }
	type hook struct{ Do func() }
	do := func() {}
	repeatCall(t, "the same", order{[]string{"tea"}}, order{[]string{"tea"}}, true)
	repeatCall(t, "nil in place of empty", order{[]string{}}, order{nil}, false)
	repeatCall(t, "empty in place of nil", order{nil}, order{[]string{}}, false)
	repeatCall(t, "one more", order{[]string{"tea"}}, order{[]string{"tea", "gold"}}, false)
	repeatCall(t, "one less", order{[]string{"tea", "gold"}}, order{[]string{"tea"}}, false)
	repeatCall(t, "a function lost", hook{do}, hook{nil}, false)
	repeatCall(t, "a function, which cannot be compared", hook{do}, hook{do}, false)
	repeatCall(t, "no function", hook{nil}, hook{nil}, true)
	cycle := new(chain)
	cycle.next = cycle
	decoded := new(chain)
	decoded.next = decoded
	repeatCall(t, "a cycle", cycle, decoded, false)
}
