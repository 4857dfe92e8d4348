package money_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/letagentpay/letagentpay-go/money"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"0":              "0.00",
		"0.0":            "0.00",
		"5":              "5.00",
		"49.9":           "49.90",
		"49.99":          "49.99",
		"0.125":          "0.125",
		"0.000001":       "0.000001",
		"9999999":        "9999999.00",
		"9999999.999999": "9999999.999999",
		"0007":           "7.00",
		"00000000001.5":  "1.50",
		"1.500000":       "1.50",
	} {
		a, err := money.Parse(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, a.String(), in)
	}
	for kind, texts := range map[error][]string{
		money.ErrSyntax: {
			"", ".", "1.", ".5", "1.2.3", "-1", "+1", "1e3", "1E3", "0x10", " 1", "1 ", "1,000", "1_000", "$5",
			"NaN", "Infinity", "٣", "1.5\x00",
		},
		money.ErrRange: {"10000000", "1.0000001", "1.0000000", strings.Repeat("9", 400)},
	} {
		for _, in := range texts {
			checkRefused(t, in, kind)
		}
	}
}

func checkRefused(t *testing.T, in string, kind error) {
	t.Helper()
	a, err := money.Parse(in)
	require.ErrorIs(t, err, kind, "%q", in)
	var parseError *money.ParseError
	require.ErrorAs(t, err, &parseError)
	assert.Less(t, len(err.Error()), 250)
	assert.Zero(t, a)
}

func TestMustPanicsOnNonsense(t *testing.T) {
	assert.Equal(t, "3.50", money.Must("3.5").String())
	assert.PanicsWithValue(t, `money: invalid amount "3,50": want digits with at most one point, for example 49.99`,
		func() { money.Must("3,50") })
}

func TestFromHundredths(t *testing.T) {
	assert.Equal(t, money.Must("19.99"), money.FromHundredths(1999))
	assert.Equal(t, "-0.01", money.FromHundredths(-1).String())
	assert.Panics(t, func() { money.FromHundredths(1 << 62) })
	assert.Panics(t, func() { money.FromHundredths(-1 << 62) })
}

func TestComparable(t *testing.T) {
	assert.True(t, money.Must("1.5") == money.Must("1.500"))
	assert.Len(t, map[money.Amount]bool{money.Must("2"): true, money.Must("2.00"): true}, 1)
	var zero money.Amount
	assert.True(t, zero.IsZero())
	assert.Equal(t, "0.00", zero.String())
}

func TestArithmetic(t *testing.T) {
	a, b := money.Must("0.10"), money.Must("0.20")
	assert.Equal(t, money.Must("0.3"), a.Add(b))
	assert.Equal(t, "-0.10", a.Sub(b).String())
	assert.Equal(t, -1, a.Cmp(b))
	assert.Equal(t, 0, a.Cmp(a))
	assert.Equal(t, 1, b.Cmp(a))
	assert.True(t, a.Less(b))
	assert.False(t, b.Less(a))
	assert.Equal(t, []int{-1, 0, 1}, []int{a.Sub(b).Sign(), a.Sub(a).Sign(), b.Sign()})
	for text, decimals := range map[string]int{"5.00": 0, "2.50": 1, "0.125": 3, "0.000001": 6} {
		assert.Equal(t, decimals, money.Must(text).Decimals(), text)
	}

	big := money.FromHundredths(99_999_999_999_999)
	assert.Panics(t, func() {
		for range 20 {
			big = big.Add(big)
		}
	})
}

func TestRounding(t *testing.T) {
	for _, c := range []struct{ in, rounded, halfEven, up string }{
		{"0", "0.00", "0.00", "0.00"},
		{"1.000001", "1.00", "1.00", "1.01"},
		{"1.004", "1.00", "1.00", "1.01"},
		{"1.005", "1.01", "1.00", "1.01"},
		{"1.015", "1.02", "1.02", "1.02"},
		{"1.005001", "1.01", "1.01", "1.01"},
		{"1.999999", "2.00", "2.00", "2.00"},
		{"-1.005", "-1.01", "-1.00", "-1.00"},
		{"-1.009", "-1.01", "-1.01", "-1.00"},
		{"-1.015", "-1.02", "-1.02", "-1.01"},
		{"-1.005001", "-1.01", "-1.01", "-1.00"},
		{"-0.000001", "0.00", "0.00", "0.00"},
		{"0.004999", "0.00", "0.00", "0.01"},
		{"2.25", "2.25", "2.25", "2.25"},
		{"-2.25", "-2.25", "-2.25", "-2.25"},
	} {
		a := decoded(t, c.in)
		assert.Equal(t, c.rounded, a.Round().String(), c.in)
		assert.Equal(t, c.halfEven, a.RoundHalfEven().String(), c.in)
		assert.Equal(t, c.up, a.RoundUp().String(), c.in)
	}
}

// What an int64 of millionths cannot hold is never returned as another amount.
func TestTheEndsOfTheRange(t *testing.T) {
	var most money.Amount
	for range 9 {
		most = most.Add(decoded(t, "999999999999.999999"))
	}
	most = most.Add(decoded(t, "223372036854.775816"))
	require.Equal(t, "9223372036854.775807", most.String())
	step := money.Must("0.000001")
	least := most.Neg().Sub(step)
	require.Equal(t, "-9223372036854.775808", least.String())

	for name, outOfRange := range map[string]func(){
		"Add":                  func() { most.Add(step) },
		"Add, negative":        func() { least.Add(step.Neg()) },
		"Sub":                  func() { least.Sub(step) },
		"Sub of the least":     func() { most.Sub(least) },
		"Neg":                  func() { least.Neg() },
		"Round":                func() { most.Round() },
		"Round, negative":      func() { least.Round() },
		"RoundHalfEven":        func() { most.RoundHalfEven() },
		"RoundHalfEven, least": func() { least.RoundHalfEven() },
		"RoundUp":              func() { most.RoundUp() },
	} {
		assert.Panics(t, outOfRange, name)
	}
	assert.Equal(t, "-9223372036854.77", least.RoundUp().String())
	assert.Equal(t, "9223372036854.77", most.Sub(money.Must("0.001")).Round().String())
}

func TestJSON(t *testing.T) {
	encoded, err := json.Marshal(struct {
		Amount money.Amount `json:"amount"`
		Zero   money.Amount `json:"zero,omitzero"`
	}{Amount: money.Must("49.9")})
	require.NoError(t, err)
	assert.Equal(t, `{"amount":49.90}`, string(encoded))

	for in, want := range map[string]string{
		`"490.00"`:        "490.00",
		`490.0`:           "490.00",
		`-12.5`:           "-12.50",
		`"-0.01"`:         "-0.01",
		`0`:               "0.00",
		`"0"`:             "0.00",
		`null`:            "7.00",
		`123456789012.5`:  "123456789012.50",
		`"1.50000000000"`: "1.50",
		`-0`:              "0.00",
		`19.99`:           "19.99",
		`0.1`:             "0.10",
	} {
		a := money.Must("7")
		require.NoError(t, json.Unmarshal([]byte(in), &a), in)
		assert.Equal(t, want, a.String(), in)
	}
	for _, in := range []string{
		`""`, `"abc"`, `true`, `{}`, `[]`, `1e2`, `"1e2"`, `1234567890123`, `0.0000001`,
		`"NaN"`, `"\u0031"`, `"1"2`, `"--1"`,
	} {
		a := money.Must("7")
		require.Error(t, json.Unmarshal([]byte(in), &a), in)
		assert.Equal(t, "7.00", a.String(), "a failed decode leaves the amount alone")
	}
}

// decoded returns the amount that the service's text means, which may be negative.
func decoded(t require.TestingT, text string) money.Amount {
	var a money.Amount
	require.NoError(t, a.UnmarshalText([]byte(text)))
	return a
}

// amounts draws amounts that the service can send.
var amounts = rapid.Custom(func(t *rapid.T) money.Amount {
	whole := rapid.Int64Range(0, 999_999_999_999).Draw(t, "whole")
	text := fmt.Sprintf("%d.%06d", whole, rapid.Int64Range(0, 999_999).Draw(t, "fraction"))
	if rapid.Bool().Draw(t, "negative") {
		text = "-" + text
	}
	return decoded(t, text)
})

// rat returns an amount as a rational number.
func rat(t require.TestingT, a money.Amount) *big.Rat {
	r, ok := new(big.Rat).SetString(a.String())
	require.True(t, ok)
	return r
}

func TestRoundingMovesLessThanAHundredth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := amounts.Draw(t, "a")
		hundredth, half := big.NewRat(1, 100), big.NewRat(1, 200)
		for name, rounded := range map[string]money.Amount{
			"Round":         a.Round(),
			"RoundHalfEven": a.RoundHalfEven(),
			"RoundUp":       a.RoundUp(),
		} {
			moved := new(big.Rat).Sub(rat(t, rounded), rat(t, a))
			assert.LessOrEqual(t, rounded.Decimals(), 2, name)
			if name == "RoundUp" {
				assert.GreaterOrEqual(t, moved.Sign(), 0, name)
				assert.Negative(t, moved.Cmp(hundredth), name)
			} else {
				assert.LessOrEqual(t, moved.Abs(moved).Cmp(half), 0, name)
			}
		}
		assert.Equal(t, a.Neg().Round(), a.Round().Neg(), "halves away from zero on both sides")
		assert.Equal(t, a.Neg().RoundHalfEven(), a.RoundHalfEven().Neg())
	})
}

func TestTextRoundTripMatchesRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := amounts.Draw(t, "a"), amounts.Draw(t, "b")
		rat := func(a money.Amount) *big.Rat { return rat(t, a) }
		assert.Zero(t, rat(a.Add(b)).Cmp(new(big.Rat).Add(rat(a), rat(b))))
		assert.Zero(t, rat(a.Sub(b)).Cmp(new(big.Rat).Sub(rat(a), rat(b))))
		assert.Equal(t, rat(a).Cmp(rat(b)), a.Cmp(b))
		text, err := a.MarshalText()
		require.NoError(t, err)
		var again money.Amount
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, a, again)
		appended, err := a.AppendText([]byte("x"))
		require.NoError(t, err)
		assert.Equal(t, "x"+a.String(), string(appended))
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"49.99", "-1", "1e3", "9999999.999999", "0.0000001", ".", "00", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := money.Parse(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		require.True(t, ok, "accepted %q, which is no number", s)
		got, _ := new(big.Rat).SetString(a.String())
		require.Zero(t, want.Cmp(got), "%q became %s", s, a)
		again, err := money.Parse(a.String())
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}

func FuzzUnmarshalJSON(f *testing.F) {
	for _, s := range []string{`"490.00"`, `490.0`, `-12.5`, `null`, `1e2`, `"`, `""`, `{}`, `123456789012.999999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a money.Amount
		if json.Unmarshal(data, &a) != nil || !json.Valid(data) {
			return
		}
		encoded, err := json.Marshal(a)
		require.NoError(t, err)
		var again money.Amount
		require.NoError(t, json.Unmarshal(encoded, &again))
		require.Equal(t, a, again)
		if literal := strings.Trim(strings.TrimSpace(string(data)), `"`); literal != "null" {
			want, ok := new(big.Rat).SetString(literal)
			require.True(t, ok, literal)
			got, _ := new(big.Rat).SetString(a.String())
			require.Zero(t, want.Cmp(got), "%s became %s", data, a)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := money.Parse("1234.56"); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParse() {
	price, err := money.Parse("49.90")
	if err != nil {
		panic(err)
	}
	fmt.Println(price, price.Add(money.Must("0.10")))
	_, err = money.Parse("49,90")
	fmt.Println(err)
	// Output:
	// 49.90 50.00
	// invalid amount "49,90": want digits with at most one point, for example 49.99
}
