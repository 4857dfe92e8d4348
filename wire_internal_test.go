package letagentpay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

const wholeRequest = `{"request_id":"r1","status":"approved","amount":49.99,"category":"groceries",` +
	`"created_at":"2026-03-11T12:00:00+00:00","reviewed_at":null}`

func TestDecodedObjectsReadInOneWay(t *testing.T) {
	with := func(more string) string { return strings.Replace(wholeRequest, "{", "{"+more, 1) }
	var many strings.Builder
	for i := range maxMembers + 1 {
		fmt.Fprintf(&many, `"m%d":0,`, i)
	}
	for name, c := range map[string]struct{ data, problem string }{
		"complete": {wholeRequest, ""},
		"white space": {
			" \r\n\t" + strings.NewReplacer(":", " :\n", ",", "\t,\r\n ", "{", "{ ", "}",
				" } ").Replace(strings.Replace(wholeRequest, `"2026-03-11T12:00:00+00:00"`, "null", 1)),
			"",
		},
		"unknown members": {
			with(`"new":[{"a":1},{"a":[]},[],{},-1.5e3,true,"\"}"],"NEW2":{"a":{"a":{}}},`), "",
		},
		"an escaped name": {strings.Replace(wholeRequest, `"status"`, `"st\u0061tus"`, 1), ""},
		"null where it may be missing": {
			strings.Replace(wholeRequest, `"2026-03-11T12:00:00+00:00"`, `null`, 1), "",
		},
		"more names than fit on the stack": {with(sixty()), ""},
		"twice":                            {with(`"status":"rejected",`), `has the member "status" twice`},
		"twice, in another case":           {with(`"Status":"rejected",`), `the member "status" is spelled "Status"`},
		"unknown, in two cases":            {with(`"new":1,"nEw":2,`), `has the member "nEw" twice`},
		"twice, escaped":                   {with(`"new":1,"n\u0065w":2,`), `has the member "new" twice`},
		"twice, below":                     {with(`"new":[0,{"a":{"b":1,"c":2,"B":1}}],`), `has the member "B" twice`},
		"twice, by an unusual letter":      {with("\"new-k\":1,\"new-\u212a\":2,"), `twice`},
		"twice, by an unusual s":           {with(`"s":1,"\u017f":2,`), `twice`},
		"twice, by invalid bytes":          {with("\"\xff\":1,\"\xfe\":2,"), `twice`},
		"in another case": {
			strings.Replace(wholeRequest, `"amount"`, `"AMOUNT"`, 1), `the member "amount" is spelled "AMOUNT"`,
		},
		"in another case, escaped": {
			strings.Replace(wholeRequest, `"reviewed_at"`, `"Review\u0065d_at"`, 1),
			`the member "reviewed_at" is spelled "Reviewed_at"`,
		},
		"missing": {
			strings.Replace(wholeRequest, `"amount":49.99,`, ``, 1), `a required field is missing: "amount"`,
		},
		"null": {
			strings.Replace(wholeRequest, `49.99`, `null`, 1), `a required field is missing: "amount"`,
		},
		"empty":       {`{}`, "a required field is missing"},
		"no object":   {`[` + wholeRequest + `]`, "want a JSON object"},
		"null alone":  {"null", "want a JSON object"},
		"nothing":     {" ", "want a JSON object"},
		"cut short":   {wholeRequest[:60], "unexpected end of JSON input"},
		"more behind": {wholeRequest + "{}", "after top-level value"},
		"too deep": {
			with(`"new":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `,`), "nested too deeply",
		},
		"too many members": {
			with(`"new":{` + strings.TrimSuffix(many.String(), ",") + `},`), "too many members",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var body api.RequestDetail
			err := decodeAs([]byte(c.data), &body, requestShape)
			if c.problem == "" {
				require.NoError(t, err)
				assert.Equal(t, "approved", body.Status)
				return
			}
			require.ErrorContains(t, err, c.problem)
		})
	}
}

// sixty returns sixty members of one object.
func sixty() string {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, `"new%d":{"a":1,"b":2},`, i)
	}
	return b.String()
}

func TestTwiceIsNoticedAmongManyNames(t *testing.T) {
	var body api.RequestDetail
	data := strings.Replace(wholeRequest, "{", `{"NEW3":0,`+sixty(), 1)
	require.ErrorContains(t, decodeAs([]byte(data), &body, requestShape), `has the member "new3" twice`)
	data = strings.Replace(wholeRequest, "{", `{`+sixty()+`"New59":0,`, 1)
	require.ErrorContains(t, decodeAs([]byte(data), &body, requestShape), `has the member "New59" twice`)
}

func TestNestedMembersAreRequired(t *testing.T) {
	const (
		first     = `{"request_id":"r1","status":"pending","amount":1,"category":"c"`
		createdAt = `"created_at":"2026-03-11T12:00:00Z"`
	)
	var list api.RequestList
	for _, c := range []struct{ data, problem string }{
		{`{"requests":[]}`, ""},
		{`{"requests":null}`, `"requests"`},
		{`{"requests":[null]}`, "is null"},
		{`{"requests":[` + first + `,"currency":"USD",` + createdAt + `}]}`, ""},
		{`{"requests":[` + first + `,"currency":"USD",` + createdAt + `},{}]}`, "is missing"},
		{`{"requests":[` + first + `,` + createdAt + `}]}`, `"currency"`},
		{`{"requests":[` + first + `,"currency":"USD"}]}`, `"created_at"`},
	} {
		err := decodeAs([]byte(c.data), &list, listShape)
		if c.problem == "" {
			require.NoError(t, err, c.data)
		} else {
			require.ErrorContains(t, err, c.problem, c.data)
		}
	}
	var wallets []api.X402Wallet
	require.NoError(t, decodeAs([]byte(" []"), &wallets, walletsShape))
	data := `[{"wallet_address":"0x","chain":"base",` + createdAt + `},{"chain":"base",` + createdAt + `}]`
	require.ErrorContains(t, decodeAs([]byte(data), &wallets, walletsShape), `"wallet_address"`)
	require.ErrorIs(t, decodeAs([]byte(`{}`), &wallets, walletsShape), errNoArray)
	assert.Panics(t, func() { shapeOf[api.Budget]("nothing") }, "an unknown name")
}

// FuzzDecode compares decodeAs with encoding/json and a slower check for what decodeAs refuses in addition.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		wholeRequest, `{}`, `[]`, `null`, `{"a":{"A":1}}`, `{"a":1,"\u0041":2}`, "{\"k\":1,\"\u212a\":2}",
		`{"status":"a","Status":"b"}`, `{"a":[{"b":1,"b":2}]}`,
		`{"a":"\\\"","b":[1,2.5e-3,true,false,null,"x"]}`, `{"":0,"":1}`, `{"a\`, `{"a":nul`,
		"{\"\xff\":1,\"\\ufffd\":2}", `{"Request_id":"x"}`, `{"amount":null}`,
		strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 70),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = checkShape(data, requestShape) // ends on any input
		var body api.RequestDetail
		err := decodeAs(data, &body, requestShape)
		if want := readsInOneWay(data); want != (err == nil) {
			t.Fatalf("decodeAs: %v, want success: %t", err, want)
		}
	})
}

func readsInOneWay(data []byte) bool {
	var body api.RequestDetail
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &body) != nil || json.Unmarshal(data, &members) != nil {
		return false
	}
	for name := range members {
		for _, known := range []string{"request_id", "status", "amount", "category", "created_at", "reviewed_at"} {
			if name != known && strings.EqualFold(name, known) {
				return false
			}
		}
	}
	for _, required := range []string{"request_id", "status", "amount", "category"} {
		if value, ok := members[required]; !ok || string(value) == "null" {
			return false
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	return tokensOnce(decoder, 0)
}

// tokensOnce reads a value and reports whether no object in it has a member twice.
func tokensOnce(decoder *json.Decoder, depth int) bool {
	token, err := decoder.Token()
	if err != nil || depth > maxDepth {
		return false
	}
	opened, ok := token.(json.Delim)
	if !ok {
		return true
	}
	var names []string
	for decoder.More() {
		if opened == '{' {
			name, err := decoder.Token()
			if err != nil || len(names) == maxMembers || slices.ContainsFunc(names, func(other string) bool {
				return strings.EqualFold(other, name.(string))
			}) {
				return false
			}
			names = append(names, name.(string))
		}
		if !tokensOnce(decoder, depth+1) {
			return false
		}
	}
	_, err = decoder.Token()
	return err == nil
}

// BenchmarkDecodeObject measures the check against decoding by encoding/json. The check allocates nothing.
func BenchmarkDecodeObject(b *testing.B) {
	data := []byte(`{"request_id":"0b0e9c1e-64a6-4b9f-a5d4-4f2a9c1e0007","status":"auto_approved","currency":"USD",
		"category":"groceries","original_category":null,
		"policy_check":{"passed":true,"checks":[{"rule":"status","result":"pass","detail":"Agent is active"},
		{"rule":"category","result":"pass","detail":"Category 'groceries' is allowed"},
		{"rule":"per_request_limit","result":"pass","detail":"No limit"},
		{"rule":"budget","result":"pass","detail":"Budget remaining: 490.00"}]},
		"auto_approved":true,"budget_remaining":"450.01","expires_at":null}`)
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var body api.PurchaseResult
			if err := json.Unmarshal(data, &body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := checkShape(data, purchaseShape); err != nil {
				b.Fatal(err)
			}
		}
	})
}
