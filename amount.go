package letagentpay

import "github.com/letagentpay/letagentpay-go/money"

// Amount is an exact amount of money in the account's currency; see [money.Amount]. The zero value is 0.
type Amount = money.Amount

// ParseAmount parses an amount such as "49.99": digits with at most one point, at most 7 before it and 6 after it,
// without a sign or an exponent. The error is a [*ParamError].
func ParseAmount(s string) (Amount, error) {
	a, err := money.Parse(s)
	if err != nil {
		return Amount{}, amountError("amount", s, err)
	}
	return a, nil
}

// MustAmount is [ParseAmount] for constants. It panics if s is not an amount.
func MustAmount(s string) Amount { return money.Must(s) }
