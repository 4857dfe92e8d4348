package policy_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

// fill gives each field of a value, at any depth, a value that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	if v.Type() == reflect.TypeFor[money.Amount]() {
		v.Set(reflect.ValueOf(money.Must("12.34")))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		require.Fail(t, "say here how to fill a "+v.Type().String())
	}
}

// Parse reads by hand, field by field: a field that it does not know would be a rule that does not apply.
func TestParseReadsEachFieldOfAPolicy(t *testing.T) {
	var whole policy.Policy
	fill(t, reflect.ValueOf(&whole).Elem())
	document, err := json.Marshal(whole)
	require.NoError(t, err)
	parsed, err := policy.Parse(document)
	require.NoError(t, err)
	assert.Equal(t, &whole, parsed)
}
