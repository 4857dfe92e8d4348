package letagentpaytest

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/money"
)

// problem is a wrong field of a body or query, in the form of a 422.
type problem = api.ValidationErrorItem

func newProblem(loc []any, kind, msg string, input any, context map[string]any) problem {
	return problem{
		Type:    kind,
		Loc:     loc,
		Msg:     msg,
		Input:   &input,
		Context: context,
	}
}

func invalid(problems ...problem) *answer {
	return jsonAnswer(http.StatusUnprocessableEntity, api.ValidationError{Detail: problems})
}

// form reads the fields of an object and collects their problems, in the order of reading.
type form struct {
	fields   map[string]json.RawMessage
	path     []any
	problems *[]problem
}

// newForm returns the form of a body. A body that is not an object is the only problem of its form.
func newForm(body payload) form {
	f := form{fields: body.fields, path: []any{"body"}, problems: new([]problem)}
	switch {
	case body.absent:
		*f.problems = append(*f.problems, newProblem(f.path, "missing", "Field required", nil, nil))
	case body.fields == nil:
		*f.problems = append(*f.problems, notAnObject(f.path))
	}
	return f
}

func notAnObject(path []any) problem {
	return newProblem(path, "model_attributes_type",
		"Input should be a valid dictionary or object to extract fields from", nil, nil)
}

// broken reports whether the body is not an object and so has no fields.
func (f form) broken() bool { return f.fields == nil }

// refusal returns the 422 for the problems, or nil.
func (f form) refusal() *answer {
	if len(*f.problems) == 0 {
		return nil
	}
	return invalid(*f.problems...)
}

func (f form) report(name, kind, msg string, context map[string]any) {
	loc := append(slices.Clip(slices.Clone(f.path)), name)
	var input any = f.fields
	if raw, ok := f.fields[name]; ok {
		input = raw
	}
	*f.problems = append(*f.problems, newProblem(loc, kind, msg, input, context))
}

// optional returns the raw value of a field. ok is false if it is missing or null.
func (f form) optional(name string) (json.RawMessage, bool) {
	raw, ok := f.fields[name]
	return raw, ok && string(raw) != "null"
}

// required returns the raw value of a field. A missing field is a problem.
func (f form) required(name string) (json.RawMessage, bool) {
	raw, ok := f.fields[name]
	if !ok {
		f.report(name, "missing", "Field required", nil)
	}
	return raw, ok
}

// object returns the form of a required nested object.
func (f form) object(name string) (form, bool) {
	raw, ok := f.required(name)
	if !ok {
		return form{}, false
	}
	inner := form{path: append(slices.Clip(slices.Clone(f.path)), name), problems: f.problems}
	if raw[0] != '{' || json.Unmarshal(raw, &inner.fields) != nil {
		*f.problems = append(*f.problems, notAnObject(inner.path))
		return form{}, false
	}
	return inner, true
}

// textRule is what the service accepts as a string. Its lengths are in characters.
type textRule struct {
	min, max int
	pattern  *regexp.Regexp
	convert  func(string) (normal, complaint string) // checks and normalises
}

// text returns the string in raw if it obeys the rule.
func (f form) text(name string, raw json.RawMessage, rule textRule) (string, bool) {
	var value string
	if raw[0] != '"' || json.Unmarshal(raw, &value) != nil {
		f.report(name, "string_type", "Input should be a valid string", nil)
		return "", false
	}
	switch length := utf8.RuneCountInString(value); {
	case length > rule.max:
		f.report(name, "string_too_long", "String should have at most "+plural(rule.max, "character"),
			map[string]any{"max_length": rule.max})
		return "", false
	case length < rule.min:
		f.report(name, "string_too_short", "String should have at least "+plural(rule.min, "character"),
			map[string]any{"min_length": rule.min})
		return "", false
	case rule.pattern != nil && !rule.pattern.MatchString(value):
		f.report(name, "string_pattern_mismatch", "String should match pattern '"+rule.pattern.String()+"'",
			map[string]any{"pattern": rule.pattern.String()})
		return "", false
	}
	if strings.ContainsRune(value, 0) { // the service's database cannot store it
		f.valueError(name, "NUL characters are not allowed")
		return "", false
	}
	if rule.convert != nil {
		normal, complaint := rule.convert(value)
		if complaint != "" {
			f.valueError(name, complaint)
			return "", false
		}
		value = normal
	}
	return value, true
}

func (f form) requiredText(name string, rule textRule) string {
	raw, ok := f.required(name)
	if !ok {
		return ""
	}
	value, _ := f.text(name, raw, rule)
	return value
}

// optionalText returns the string of a field, or nil if it is missing, null or wrong.
func (f form) optionalText(name string, rule textRule) *string {
	raw, ok := f.optional(name)
	if !ok {
		return nil
	}
	value, ok := f.text(name, raw, rule)
	if !ok {
		return nil
	}
	return &value
}

func (f form) valueError(name, complaint string) {
	f.report(name, "value_error", "Value error, "+complaint, map[string]any{"error": struct{}{}})
}

// positive returns the number in raw, a number or a numeric string. It must be above zero and at most limit. A limit of
// zero is unlimited.
func (f form) positive(name string, raw json.RawMessage, limit money.Amount) (decimal, bool) {
	text, isNumber := numberText(raw)
	if !isNumber {
		f.report(name, "decimal_type", "Decimal input should be an integer, float, string or Decimal object", nil)
		return decimal{}, false
	}
	value, finite, ok := parseDecimal(text)
	switch {
	case !ok:
		f.report(name, "decimal_parsing", "Input should be a valid decimal", nil)
	case !finite:
		f.report(name, "finite_number", "Input should be a finite number", nil)
	case limit.Sign() > 0 && value.cmp(limit) > 0:
		le := json.RawMessage(strings.TrimSuffix(limit.String(), ".00"))
		f.report(name, "less_than_equal", "Input should be less than or equal to "+string(le), map[string]any{"le": le})
	case value.cmp(money.Amount{}) <= 0:
		f.report(name, "greater_than", "Input should be greater than 0", map[string]any{"gt": 0})
	default:
		return value, true
	}
	return decimal{}, false
}

// numberText returns the digits of a JSON number or string. The service reads a number with a point or an exponent as a
// float, so this is the shortest decimal of the same float.
func numberText(raw json.RawMessage) (string, bool) {
	switch c := raw[0]; {
	case c == '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	case c == '-' || c >= '0' && c <= '9':
		if !bytes.ContainsAny(raw, ".eE") {
			return string(raw), true
		}
		value, _ := strconv.ParseFloat(string(raw), 64) // out of range: an infinity, which is a problem of its own
		return strconv.FormatFloat(value, 'g', -1, 64), true
	}
	return "", false
}

// flag reads a required boolean in any of the forms the service accepts.
func (f form) flag(name string) bool {
	raw, ok := f.required(name)
	if !ok {
		return false
	}
	unclear := func() bool {
		f.report(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input", nil)
		return false
	}
	switch c := raw[0]; {
	case c == 't', c == 'f':
		return c == 't'
	case c == '"':
		var text string
		_ = json.Unmarshal(raw, &text) // parsePayload has checked the syntax
		switch strings.ToLower(text) {
		case "1", "on", "t", "true", "y", "yes":
			return true
		case "0", "off", "f", "false", "n", "no":
			return false
		}
		return unclear()
	case c == '-' || c >= '0' && c <= '9':
		switch value, _ := strconv.ParseFloat(string(raw), 64); {
		case value == 0, value == 1:
			return value == 1
		case value == math.Trunc(value) && !math.IsInf(value, 0):
			return unclear()
		}
	}
	f.report(name, "bool_type", "Input should be a valid boolean", nil)
	return false
}

func trimSpace(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
