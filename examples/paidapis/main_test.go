package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSDKsThatRetryBuyOnce(t *testing.T) {
	for i, sdk := range sdks {
		for _, fault := range faults {
			t.Run(sdk.name+", "+fault, func(t *testing.T) {
				t.Parallel()
				r := try(t.Context(), i, fault)
				require.NoError(t, r.check())
				assert.EqualValues(t, 1, r.charged)
				assert.Equal(t, 1, r.bought)
				assert.Equal(t, "0.05", r.spent.String())
			})
		}
	}
}

func TestRunSaysWhatBecameOfEachCall(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	assert.Contains(t, out.String(), "stripe-go, when the API cuts the connection: charged 1, bought 1, spent 0.05; "+
		"the SDK returns that the call was made before\n")
	assert.Equal(t, len(sdks)*len(faults), bytes.Count(out.Bytes(), []byte("\n")))
}
