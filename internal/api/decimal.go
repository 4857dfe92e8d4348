package api

import "github.com/letagentpay/letagentpay-go/money"

// DecimalString is an amount that the wire carries as a JSON string. It decodes from a number, too.
type DecimalString struct {
	money.Amount
}

// MarshalJSON returns the amount as a JSON string, such as "490.00".
func (d DecimalString) MarshalJSON() ([]byte, error) {
	encoded, err := d.AppendText([]byte{'"'})
	return append(encoded, '"'), err
}
