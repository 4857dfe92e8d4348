package letagentpay

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go/money"
)

// paramError returns a *ParamError. It shortens a long value, and leaves out one that holds a token.
func paramError(field, value, reason string) *ParamError {
	const longest = 80
	if holdsToken(value) {
		value = "" // a token passed by mistake
	}
	if runes := []rune(value); len(runes) > longest {
		value = string(runes[:longest]) + "…"
	}
	return &ParamError{Field: field, Value: value, Reason: reason}
}

// amountError returns the error for an amount that could not be parsed.
func amountError(field, value string, err error) *ParamError {
	e := paramError(field, value, err.Error())
	e.Err = withoutToken(err)
	if parse, ok := errors.AsType[*money.ParseError](err); ok {
		e.Reason = parse.Reason
	}
	return e
}

func checkContext(ctx context.Context) error {
	if ctx == nil {
		return paramError("ctx", "", "want a context; use context.Background() if you have none")
	}
	return nil
}

// checkAmount accepts an amount that the service stores unchanged.
func checkAmount(field string, a Amount) error {
	switch {
	case a.Sign() <= 0:
		return paramError(field, a.String(), "want an amount above zero")
	case maxAmount.Less(a):
		return paramError(field, a.String(), "want at most "+maxAmount.String())
	case a.Decimals() > 2:
		return paramError(field, a.String(), "want at most two decimals: the service would round it; see Amount.Round")
	}
	return nil
}

func checkText(field, value string, longest int) error {
	if !utf8.ValidString(value) {
		return paramError(field, strings.ToValidUTF8(value, "�"), "want valid UTF-8")
	}
	if strings.ContainsRune(value, 0) {
		return paramError(field, value, "want text without NUL characters")
	}
	if n := utf8.RuneCountInString(value); n > longest {
		return paramError(field, value, "want at most "+strconv.Itoa(longest)+" characters, got "+strconv.Itoa(n))
	}
	return nil
}

// boundedText is a text field with its maximum length in characters.
type boundedText struct {
	field, value string
	longest      int
	required     bool
}

func checkTexts(texts []boundedText) error {
	for _, text := range texts {
		if text.required && strings.TrimSpace(text.value) == "" {
			return paramError(text.field, text.value, "want a text that is not empty")
		}
		if err := checkText(text.field, text.value, text.longest); err != nil {
			return err
		}
	}
	return nil
}

func checkIdempotencyKey(field, key string) error {
	const longest = 255
	if holdsToken(key) {
		return paramError(field, "", "want a key without an agent's token in it")
	}
	if len(key) > longest || !printableASCII(key) || strings.TrimSpace(key) != key {
		return paramError(field, key, "want at most 255 printable ASCII characters "+
			"without leading or trailing spaces, or nothing for a random key")
	}
	return nil
}

// zeroDecimalCurrencies are the ISO 4217 currencies without a minor unit.
var zeroDecimalCurrencies = []string{
	"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
	"XPF",
}

func isCurrency(code string) bool {
	for i := range len(code) {
		if letter := code[i] | 0x20; letter < 'a' || letter > 'z' {
			return false
		}
	}
	return len(code) == 3
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
