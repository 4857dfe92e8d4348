package letagentpay

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/journal"
)

// These keys find the entries that earlier versions have written.
func TestEntriesHaveTheKeysThatTheyAlwaysHad(t *testing.T) {
	const digest = "aaa6ba278f66412c7f0f6989eb771ce2f3ae4cbd38f243839de8ceb05a763abd" // of the token
	client, err := New(WithToken("agt_1"), WithBaseURL("https://Pay.Example/api/"))
	require.NoError(t, err)
	for kind, name := range map[string]string{"key": "turn 7", "request": "3f2a9c1e-0b7d-4c55-9e21-aa01bb02cc03"} {
		rec := &record{journal: struct{ journal.Store }{}}
		rec.setPurchase(client, kind, name, &PurchaseParams{IdempotencyKey: "turn 7"}, "")
		assert.Equal(t, "https://pay.example:443/api "+digest+" "+kind+" "+name, rec.entry.Key)
		assert.Equal(t, "https://pay.example:443/api", rec.entry.Service)
		assert.Equal(t, digest, rec.entry.Agent)
	}
}

func TestWhoseAnEntryIs(t *testing.T) {
	client := func(token, base string) *Client {
		client, err := New(WithToken(token), WithBaseURL(base))
		require.NoError(t, err)
		return client
	}
	c := client("agt_1", "https://pay.example/api")
	alike, another := client("agt_1", "https://PAY.example:443/api/"), client("agt_2", "https://pay.example/api")
	elsewhere := client("agt_1", "https://pay.example/apis")
	of := func(c *Client, kind, name, key string) *journal.Entry {
		rec := &record{journal: struct{ journal.Store }{}}
		rec.setPurchase(c, kind, name, &PurchaseParams{IdempotencyKey: key}, "")
		return &rec.entry
	}
	for name, test := range map[string]struct {
		entry   *journal.Entry
		key     string
		owned   bool
		service bool
	}{
		"its own":                     {of(c, "key", "turn 7", "turn 7"), "turn 7", true, true},
		"a resumed request's":         {of(c, "request", "r1", ""), "", true, true},
		"a request's with a key":      {of(c, "request", "r1", "turn 7"), "", true, true},
		"another token's":             {of(another, "key", "turn 7", "turn 7"), "", false, true},
		"another service's":           {of(elsewhere, "key", "turn 7", "turn 7"), "", false, false},
		"one without an agent":        {&journal.Entry{Key: "turn 7", IdempotencyKey: "turn 7"}, "", false, false},
		"its own in another spelling": {of(alike, "key", "a", "a"), "a", true, true},
	} {
		assert.Equal(t, test.key, c.keyOf(test.entry), name)
		assert.Equal(t, test.owned, c.owns(test.entry), name)
		assert.Equal(t, test.service, c.sameService(test.entry), name)
	}
	assert.Empty(t, c.keyOf(nil))
}

func TestAnEntryHasWhatWasRequestedAndHowItEnded(t *testing.T) {
	p := PurchaseParams{
		Amount:         MustAmount("49.90"),
		Category:       "food",
		Currency:       "usd",
		MerchantName:   "Späti",
		Description:    "milk",
		AgentComment:   "for breakfast",
		IdempotencyKey: "turn 7",
	}
	var entry journal.Entry
	setPurchase(&entry, &p)
	assert.Equal(t, p, purchaseOfEntry(&entry))
	assert.Equal(t, contentOf(&p), contentOfEntry(&entry))
	assert.Equal(t, p, Interrupted{Entry: &entry}.Params())
	assert.Zero(t, Interrupted{}.Params())

	p.Ref = "line 3"
	setPurchase(&entry, &p)
	assert.Empty(t, entry.Ref, "the key names the purchase, and both together are refused")

	outcome := ConfirmParams{Success: true, ActualAmount: MustAmount("47.50"), ReceiptURL: "https://shop.example/1"}
	setOutcome(&entry, outcome)
	assert.Equal(t, outcome, outcomeOfEntry(&entry))
}
