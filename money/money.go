// Package money holds [Amount], the exact decimal money type of the LetAgentPay SDK.
//
// An Amount never passes through a float: it is read from the digits of a string or of a JSON number literal, added
// and compared as an integer count of millionths, and printed from that count. The service stores two decimals; the
// four beyond serve prices below a cent, as they occur in paid APIs.
package money

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
)

const (
	decimals = 6         // digits an Amount keeps after the point
	unit     = 1_000_000 // 10^decimals

	perHundredth = unit / 100

	parseDigits  = 7  // digits before the point that Parse accepts: the service's limit is 9,999,999
	decodeDigits = 12 // digits before the point that decoding accepts: a balance may exceed what one purchase may

	maxMillionths = 999_999_999_999*unit + unit - 1
)

// Errors that a [*ParseError] matches with [errors.Is].
var (
	// ErrSyntax reports a text that is not a plain decimal number.
	ErrSyntax = errors.New("not a plain decimal number")
	// ErrRange reports a number with more digits than an Amount keeps, before or after the point.
	ErrRange = errors.New("too many digits")
)

// ParseError reports a text that is not an amount. It matches [ErrSyntax] or [ErrRange] with [errors.Is].
type ParseError struct {
	Value  string // the text refused, shortened when very long
	Reason string // what is accepted instead
	Err    error  // ErrSyntax or ErrRange
}

func (e *ParseError) Error() string {
	return "invalid amount " + strconv.Quote(e.Value) + ": " + e.Reason
}

// Unwrap returns [ErrSyntax] or [ErrRange].
func (e *ParseError) Unwrap() error { return e.Err }

// Amount is an exact amount of money, or a balance, in units of an account's currency. The currency is not part of it.
//
// The zero value is 0. Amounts are plain values: they may be compared with == and used as map keys, and are safe for
// concurrent use. Purchases are positive; only a balance can be negative.
type Amount struct {
	millionths int64
}

// Parse reads a positive amount or zero: digits with at most one point, at most 7 digits before it and 6 after.
// Signs, exponents, spaces, digit separators and currency symbols are refused, and so are a bare point and an empty
// text. The error is a [*ParseError].
func Parse(s string) (Amount, error) {
	return parse(s, parseDigits, false)
}

// Must is [Parse] for constants: it panics when s is not an amount.
func Must(s string) Amount {
	a, err := Parse(s)
	if err != nil {
		panic("money: " + err.Error())
	}
	return a
}

// FromHundredths returns an amount of n hundredths: FromHundredths(1999) is 19.99. It panics if the amount has more
// than 12 digits before the point.
func FromHundredths(n int64) Amount {
	if n > maxMillionths/perHundredth || n < -maxMillionths/perHundredth {
		panic("money: FromHundredths: " + strconv.FormatInt(n, 10) + " is out of range")
	}
	return Amount{n * perHundredth}
}

// parse reads a decimal of at most whole digits before the point. On the wire it also accepts a minus sign, and zeros
// beyond the sixth digit after the point.
func parse(s string, whole int, wire bool) (Amount, error) {
	refuse := func(kind error) (Amount, error) {
		reason := "want digits with at most one point, for example 49.99"
		if kind == ErrRange {
			reason = fmt.Sprintf("want at most %d digits before the point and %d after", whole, decimals)
		}
		if len(s) > 64 {
			s = s[:64] + "…"
		}
		return Amount{}, &ParseError{Value: s, Reason: reason, Err: kind}
	}
	digits, negative := s, false
	if wire && len(s) > 0 && s[0] == '-' {
		digits, negative = s[1:], true
	}
	var (
		total           int64
		before, after   int // significant digits seen on each side of the point
		point, anyDigit bool
		tooLong         bool
	)
	for i := range len(digits) {
		switch c := digits[i]; {
		case c == '.' && !point && anyDigit:
			point, anyDigit = true, false // a point needs a digit on both sides
		case c < '0' || c > '9':
			return refuse(ErrSyntax)
		case !point:
			anyDigit = true
			if before > 0 || c != '0' {
				before++
			}
			if before > whole {
				tooLong = true
				continue
			}
			total = total*10 + int64(c-'0')
		default:
			anyDigit = true
			if after == decimals {
				tooLong = tooLong || c != '0' || !wire
				continue
			}
			after++
			total = total*10 + int64(c-'0')
		}
	}
	if !anyDigit {
		return refuse(ErrSyntax)
	}
	if tooLong {
		return refuse(ErrRange)
	}
	for ; after < decimals; after++ {
		total *= 10
	}
	if negative {
		total = -total
	}
	return Amount{total}, nil
}

// Add returns a + b. It panics when the sum leaves the range of an int64 of millionths (about nine trillion units of
// currency), which no sum of a service's balances does.
func (a Amount) Add(b Amount) Amount {
	sum := a.millionths + b.millionths
	if (sum > a.millionths) != (b.millionths > 0) {
		panic("money: " + a.String() + " + " + b.String() + " is out of range")
	}
	return Amount{sum}
}

// Sub returns a - b, which may be negative. It panics like [Amount.Add].
func (a Amount) Sub(b Amount) Amount { return a.Add(b.Neg()) }

// Neg returns -a. It panics like [Amount.Add].
func (a Amount) Neg() Amount {
	if a.millionths == math.MinInt64 {
		panic("money: -(" + a.String() + ") is out of range")
	}
	return Amount{-a.millionths}
}

// Cmp returns -1, 0 or +1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return cmp.Compare(a.millionths, b.millionths) }

// Less reports whether a is less than b.
func (a Amount) Less(b Amount) bool { return a.millionths < b.millionths }

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a.millionths == 0 }

// Sign returns -1, 0 or +1 as a is negative, zero or positive.
func (a Amount) Sign() int { return cmp.Compare(a.millionths, 0) }

// Decimals returns how many digits after the point a needs: 0 for 5, 1 for 2.50, 3 for 0.125.
func (a Amount) Decimals() int {
	rest, n := a.millionths%unit, decimals
	if rest == 0 {
		return 0
	}
	for ; rest%10 == 0; rest /= 10 {
		n--
	}
	return n
}

// Round returns a rounded to hundredths, halves away from zero: 1.005 to 1.01. The service stores amounts like this. It
// panics like [Amount.Add].
func (a Amount) Round() Amount {
	quotient, rest := a.hundredths()
	switch {
	case rest >= perHundredth/2:
		quotient++
	case rest <= -perHundredth/2:
		quotient--
	}
	return ofHundredths(quotient)
}

// RoundHalfEven returns a rounded to hundredths, halves to the even hundredth: 1.005 to 1.00. The service's daily,
// weekly and monthly counters add amounts rounded like this. It panics like [Amount.Add].
func (a Amount) RoundHalfEven() Amount {
	quotient, rest := a.hundredths()
	switch {
	case rest > perHundredth/2, rest == perHundredth/2 && quotient%2 != 0:
		quotient++
	case rest < -perHundredth/2, rest == -perHundredth/2 && quotient%2 != 0:
		quotient--
	}
	return ofHundredths(quotient)
}

// RoundUp returns the smallest amount in whole hundredths that is not less than a: 1.001 to 1.01, 1.00 to 1.00. Zero
// stays zero, and a negative amount moves towards zero: -1.009 to -1.00. It panics like [Amount.Add].
func (a Amount) RoundUp() Amount {
	quotient, rest := a.hundredths()
	if rest > 0 {
		quotient++
	}
	return ofHundredths(quotient)
}

// hundredths returns the whole hundredths of a, cut towards zero, and the millionths left over, both with a's sign.
func (a Amount) hundredths() (quotient, rest int64) {
	return a.millionths / perHundredth, a.millionths % perHundredth
}

// ofHundredths returns an amount of n hundredths, and panics when an Amount cannot hold it.
func ofHundredths(n int64) Amount {
	if n > math.MaxInt64/perHundredth || n < math.MinInt64/perHundredth {
		panic("money: " + strconv.FormatInt(n, 10) + " hundredths are out of range")
	}
	return Amount{n * perHundredth}
}

// String returns a in digits, with at least two decimals and no more than needed beyond: "49.90", "0.125", "-3.00".
func (a Amount) String() string {
	var buf [32]byte
	return string(a.append(buf[:0]))
}

func (a Amount) append(buf []byte) []byte {
	magnitude := uint64(a.millionths)
	if a.millionths < 0 {
		buf = append(buf, '-')
		magnitude = -magnitude
	}
	buf = strconv.AppendUint(buf, magnitude/unit, 10)
	fraction := unit + magnitude%unit // the leading 1 keeps the zeros after the point
	digits := decimals
	for ; digits > 2 && fraction%10 == 0; digits-- {
		fraction /= 10
	}
	point := len(buf)
	buf = strconv.AppendUint(buf, fraction, 10)
	buf[point] = '.' // in place of the leading 1
	return buf
}

// MarshalText returns what [Amount.String] does.
func (a Amount) MarshalText() ([]byte, error) { return a.append(nil), nil }

// AppendText appends what [Amount.String] returns.
func (a Amount) AppendText(buf []byte) ([]byte, error) { return a.append(buf), nil }

// UnmarshalText reads a decimal as the service writes it. It accepts what [Parse] does, and also a minus sign, up to 12
// digits before the point, and zeros beyond the sixth digit after it. On an error, a [*ParseError], a is unchanged.
func (a *Amount) UnmarshalText(text []byte) error {
	parsed, err := parse(string(text), decodeDigits, true)
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// MarshalJSON returns a as a JSON number literal with its decimals: 49.90.
func (a Amount) MarshalJSON() ([]byte, error) { return a.append(nil), nil }

// UnmarshalJSON reads a JSON number, from its literal, or a JSON string, both in the form [Amount.UnmarshalText]
// accepts. A null leaves a unchanged.
func (a *Amount) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' {
		data = data[1 : n-1] // an escape inside is not a digit, so parse refuses it
	}
	return a.UnmarshalText(data)
}
