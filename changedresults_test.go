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

// changing is a codec that decodes something of its own.
type changing[Out any] struct{ back Out }

func (changing[Out]) Encode(any) ([]byte, error) { return []byte("x"), nil }
func (c changing[Out]) Decode(_ []byte, result any) error {
	*result.(*Out) = c.back
	return nil
}

// givenBack makes a guarded call twice under one key, with a codec that decodes its result as another one.
func givenBack[Out any](t *testing.T, name string, result, back Out, kept bool) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t)
			var runs atomic.Int64
			guarded := letagentpay.Guard(server.Client(),
				func(p letagentpay.PurchaseParams) letagentpay.PurchaseParams { return p },
				func(context.Context, letagentpay.PurchaseParams) (Out, error) {
					runs.Add(1)
					return result, nil
				}, letagentpay.WithJournal(new(memoryJournal)), letagentpay.WithResultCodec(changing[Out]{back}))
			_, err := guarded(t.Context(), underKey("30", "turn-7"))
			require.NoError(t, err)
			_, err = guarded(t.Context(), underKey("30", "turn-7"))
			if kept {
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
	givenBack(t, "the same", order{[]string{"tea"}}, order{[]string{"tea"}}, true)
	givenBack(t, "nil in place of none", order{[]string{}}, order{nil}, false)
	givenBack(t, "none in place of nil", order{nil}, order{[]string{}}, false)
	givenBack(t, "one more", order{[]string{"tea"}}, order{[]string{"tea", "gold"}}, false)
	givenBack(t, "one less", order{[]string{"tea", "gold"}}, order{[]string{"tea"}}, false)
	givenBack(t, "a function lost", hook{do}, hook{nil}, false)
	givenBack(t, "a function, which may be another one", hook{do}, hook{do}, false)
	givenBack(t, "no function", hook{nil}, hook{nil}, true)
	circle := new(chain)
	circle.next = circle
	back := new(chain)
	back.next = back
	givenBack(t, "a circle, which has no end", circle, back, false)
}
