package letagentpay

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/journal"
)

// example is a purchase in which each field has a value.
func example() PurchaseParams {
	p := PurchaseParams{Amount: MustAmount("49.99"), Currency: "USD"}
	fields := reflect.ValueOf(&p).Elem()
	for i := range fields.NumField() {
		if field := fields.Field(i); field.Kind() == reflect.String && field.Len() == 0 {
			field.SetString(strings.ToLower(fields.Type().Field(i).Name))
		}
	}
	return p
}

// changed returns p with another value in one field.
func changed(t *testing.T, p PurchaseParams, field string) PurchaseParams {
	t.Helper()
	switch value := reflect.ValueOf(&p).Elem().FieldByName(field); {
	case field == "Amount":
		p.Amount = MustAmount("50")
	case field == "Currency":
		p.Currency = "EUR"
	case value.Kind() == reflect.String:
		value.SetString("another " + field)
	default:
		require.Fail(t, "say here how to change PurchaseParams."+field)
	}
	return p
}

// Each field of PurchaseParams counts wherever two purchases are compared, or is excepted here with a reason. A field
// that is forgotten in one of these places lets a purchase run that was not approved, or run twice.
func TestEachFieldOfAPurchaseCountsWhereverPurchasesAreCompared(t *testing.T) {
	client, err := New(WithToken("agt_0123456789"), WithBaseURL("https://pay.example"))
	require.NoError(t, err)
	keyOf := func(p PurchaseParams) string {
		t.Helper()
		p.IdempotencyKey, p.Ref = "", ""
		scoped, err := client.scoped(WithPurchaseScope(context.Background(), "message 17"), &p)
		require.NoError(t, err)
		scoped.done(false, false)
		return p.IdempotencyKey
	}
	// shown is the content of a request in the list.
	shown := func(p PurchaseParams) content {
		var request Request
		row := reflect.ValueOf(&request).Elem()
		for field := range reflect.TypeFor[PurchaseParams]().Fields() {
			if to := row.FieldByName(field.Name); to.IsValid() {
				to.Set(reflect.ValueOf(p).FieldByName(field.Name))
			}
		}
		return contentOfRequest(&request)
	}
	excepted := map[string][]string{
		"content":  {"AgentComment", "IdempotencyKey", "Ref"}, // what is said about a purchase, and names of it
		"mismatch": {"Category"},                              // compared by Client.relate, because of aliases
		"scope":    {"Category", "Currency"},                  // by the ordinal's names; the account has one currency
		"sent":     {"IdempotencyKey", "Ref"},                 // as a header, and not at all
	}
	before := example()
	for field := range reflect.TypeFor[PurchaseParams]().Fields() {
		after := changed(t, before, field.Name)
		counts := func(where string) bool { return !slices.Contains(excepted[where], field.Name) }

		assert.Equal(t, counts("content"), contentOf(&before) != contentOf(&after), "contentOf, %s", field.Name)
		assert.Equal(t, counts("sent"), !reflect.DeepEqual(before.body(), after.body()), "body, %s", field.Name)
		if text := after; field.Type.Kind() == reflect.String {
			reflect.ValueOf(&text).Elem().FieldByName(field.Name).SetString(strings.Repeat("x", 3000))
			assert.ErrorIs(t, text.validate(), ErrInvalid, "validate, %s", field.Name)
		}
		if !counts("content") {
			continue
		}
		mismatch := contentOf(&after).mismatch("r1", contentOf(&before))
		assert.Equal(t, counts("mismatch"), mismatch != nil, "mismatch, %s", field.Name)
		assert.Equal(t, counts("scope"), keyOf(before) != keyOf(after), "the key of a scope, %s", field.Name)
		assert.Equal(t, contentOf(&after), shown(after), "contentOfRequest, %s", field.Name)
		var entry journal.Entry
		setPurchase(&entry, &after)
		recorded := purchaseOfEntry(&entry)
		assert.Equal(t, contentOf(&after), contentOf(&recorded), "journal.Entry, %s", field.Name)
	}
}
