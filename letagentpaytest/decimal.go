package letagentpaytest

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/letagentpay/letagentpay-go/money"
)

// decimal is a number exactly as it was sent, with any number of digits. An Amount keeps six digits after the point,
// but the service compares the number as sent and rounds only what it stores.
type decimal struct {
	near  money.Amount // the number itself unless exact is set
	exact *big.Rat     // set when the number has more digits than an Amount
	text  string       // plain digits
}

const (
	maxExponent = 400  // limits the work for an exponent; every number that matters is far smaller
	maxDigits   = 5000 // limits the work for the digits
)

// parseDecimal reads a number in the forms that the service accepts: with surrounding spaces, underscores between
// digits, a sign, an exponent. finite is false for a NaN or an infinity. ok is false for a text that is not a number.
func parseDecimal(text string) (value decimal, finite, ok bool) {
	text = trimSpace(text)
	if value.near.UnmarshalText([]byte(text)) == nil { // the usual case
		value.text = text
		return value, true, true
	}
	text = strings.ReplaceAll(text, "_", "")
	unsigned := strings.TrimLeft(text, "+-")
	if len(text)-len(unsigned) > 1 {
		return decimal{}, false, false
	}
	switch lower := strings.ToLower(unsigned); {
	case lower == "inf", lower == "infinity":
		return decimal{}, false, true
	case strings.HasPrefix(lower, "nan"), strings.HasPrefix(lower, "snan"):
		_, payload, _ := strings.Cut(lower, "nan")
		return decimal{}, false, onlyDigits(payload)
	}
	mantissa, exponent, exponentGiven := cutAny(unsigned, "eE")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || len(digits) > maxDigits || !onlyDigits(digits) {
		return decimal{}, false, false
	}
	shift := 0
	if exponentGiven {
		unsigned := strings.TrimLeft(exponent, "+-")
		if unsigned == "" || len(exponent)-len(unsigned) > 1 || !onlyDigits(unsigned) {
			return decimal{}, false, false
		}
		shift, _ = strconv.Atoi(exponent) // out of range: the nearest int
		shift = min(max(shift, -maxExponent), maxExponent)
	}
	coefficient, _ := new(big.Int).SetString(digits, 10)
	rat := new(big.Rat).SetInt(coefficient)
	if places := shift - len(fraction); places >= 0 {
		rat.Mul(rat, new(big.Rat).SetInt(powerOfTen(places)))
	} else {
		rat.Quo(rat, new(big.Rat).SetInt(powerOfTen(-places)))
	}
	if text[0] == '-' {
		rat.Neg(rat)
	}
	return newDecimal(rat), true, true
}

// newDecimal returns a decimal of a rational whose denominator divides a power of ten.
func newDecimal(rat *big.Rat) decimal {
	places, _ := rat.FloatPrec()
	d := decimal{exact: rat, text: rat.FloatString(places)}
	if d.near.UnmarshalText([]byte(d.text)) == nil {
		d.exact = nil
	}
	return d
}

func (d decimal) rat() *big.Rat {
	if d.exact != nil {
		return d.exact
	}
	return ratOf(d.near)
}

// cmp compares d, with all its digits, with a.
func (d decimal) cmp(a money.Amount) int {
	if d.exact != nil {
		return d.exact.Cmp(ratOf(a))
	}
	return d.near.Cmp(a)
}

// minus returns d - a, in the digits of an Amount as [decimal.amount] returns them.
func (d decimal) minus(a money.Amount) money.Amount {
	if d.exact == nil {
		return d.near.Sub(a)
	}
	return newDecimal(new(big.Rat).Sub(d.exact, ratOf(a))).amount()
}

// amount returns d in the six digits of an Amount. A number with more digits becomes a neighbour on the same side of
// every cent and half cent, so it compares with limits and rounds as d does. d must be within the range of an Amount.
func (d decimal) amount() money.Amount {
	if d.exact == nil {
		return d.near
	}
	const perUnit, halfCent = 1_000_000, 5_000
	scaled := new(big.Rat).Mul(d.exact, big.NewRat(perUnit, 1))
	low := new(big.Int).Div(scaled.Num(), scaled.Denom()) // rounds down: Denom is positive
	nearest := new(big.Int).Add(low, big.NewInt(1))
	if new(big.Int).Mod(nearest, big.NewInt(halfCent)).Sign() == 0 {
		nearest = low
	}
	var amount money.Amount
	text := new(big.Rat).SetFrac(nearest, big.NewInt(perUnit)).FloatString(6)
	if err := amount.UnmarshalText([]byte(text)); err != nil {
		panic("letagentpaytest: a validated number is out of range: " + err.Error())
	}
	return amount
}

func ratOf(a money.Amount) *big.Rat {
	rat, _ := new(big.Rat).SetString(a.String())
	return rat
}

// roundHalfEven returns rat rounded to places digits after the point, halves to the even digit.
func roundHalfEven(rat *big.Rat, places int) string {
	scaled := new(big.Rat).Mul(rat, new(big.Rat).SetInt(powerOfTen(places)))
	quotient, rest := new(big.Int).DivMod(scaled.Num(), scaled.Denom(), new(big.Int))
	switch rest.Lsh(rest, 1).Cmp(scaled.Denom()) {
	case 1:
		quotient.Add(quotient, big.NewInt(1))
	case 0:
		if quotient.Bit(0) == 1 {
			quotient.Add(quotient, big.NewInt(1))
		}
	}
	return new(big.Rat).SetFrac(quotient, powerOfTen(places)).FloatString(places)
}

func powerOfTen(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func cutAny(s, separators string) (before, after string, found bool) {
	if i := strings.IndexAny(s, separators); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
