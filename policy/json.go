package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/letagentpay/letagentpay-go/money"
)

// Parse reads a policy document. For an empty document and for null it returns nil, which is no policy, and no error.
// The error is an [*Error] that names the field.
//
// Parse is as lenient as the service: limits may be numbers or numeric strings of any precision and exponent, null is
// the same as not set, and fields that this version does not know are ignored. A limit finer than an Amount is rounded
// down, and one with more than 12 digits before the point becomes the largest amount with 12. Neither changes which
// purchases pass. Parse accepts mistakes in what it can read; [Policy.Validate] finds them.
func Parse(data []byte) (*Policy, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	p := new(Policy)
	if err := p.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return p, nil
}

// UnmarshalJSON reads a policy document as [Parse] does, and replaces p with it. A null leaves p unchanged, and so does
// an error.
func (p *Policy) UnmarshalJSON(data []byte) error {
	d := new(decoder)
	document, ok := d.object("", data)
	if !ok {
		return d.failure()
	}
	parsed := Policy{
		PerRequestLimit:   document.limit("per_request_limit"),
		DailyLimit:        document.limit("daily_limit"),
		WeeklyLimit:       document.limit("weekly_limit"),
		MonthlyLimit:      document.limit("monthly_limit"),
		AllowedCategories: document.texts("allowed_categories"),
		BlockedCategories: document.texts("blocked_categories"),
		RequestsPerMinute: document.count("requests_per_minute"),
		RequestsPerHour:   document.count("requests_per_hour"),
		Schedule:          document.schedule("schedule"),
	}
	if o, ok := document.object("auto_approve"); ok {
		parsed.AutoApprove = &AutoApprove{
			Enabled:    o.truth("enabled", false),
			MaxAmount:  o.limit("max_amount"),
			Categories: o.texts("categories"),
		}
	}
	if o, ok := document.object("x402"); ok {
		parsed.X402 = &X402{
			AllowedChains:  o.texts("allowed_chains"),
			AllowedDomains: o.texts("allowed_domains"),
			BlockedDomains: o.texts("blocked_domains"),
			MaxPerRequest:  o.limit("max_per_request"),
		}
	}
	if err := d.failure(); err != nil {
		return err
	}
	*p = parsed
	return nil
}

// decoder reads a document by the names of its fields. encoding/json would take "Daily_Limit" for daily_limit, merge an
// object that occurs twice, and report no path for an invalid limit. decoder keeps the first error.
type decoder struct{ err *Error }

func (d *decoder) failure() error {
	if d.err == nil {
		return nil // not a nil *Error
	}
	return d.err
}

func (d *decoder) refuse(path string, raw []byte, reason string) {
	if d.err == nil {
		d.err = &Error{Field: cmp.Or(path, "document"), Value: shortened(string(raw)), Reason: reason}
	}
}

// object is a JSON object at a path of the document.
type object struct {
	*decoder
	path   string
	fields map[string]json.RawMessage
}

// object reads an object; ok is false when raw is not one.
func (d *decoder) object(path string, raw []byte) (o object, ok bool) {
	o = object{decoder: d, path: path}
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		reason := "want a JSON object"
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			reason += ": " + err.Error()
		}
		d.refuse(path, raw, reason)
	}
	return o, o.fields != nil
}

// field returns the raw value of a field and its path; ok is false when the field is not set.
func (o object) field(name string) (path string, raw json.RawMessage, ok bool) {
	if raw, ok = o.fields[name]; !ok || string(raw) == "null" {
		return "", nil, false
	}
	return under(o.path, name), raw, true
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (o object) object(name string) (object, bool) {
	path, raw, ok := o.field(name)
	if !ok {
		return object{}, false
	}
	return o.decoder.object(path, raw)
}

func (o object) schedule(name string) *Schedule {
	o, ok := o.object(name)
	if !ok {
		return nil
	}
	s := &Schedule{}
	s.Timezone, _ = o.text("timezone")
	if window, ok := o.object("default"); ok {
		s.Default = new(Window)
		if allow, ok := window.text("allow"); ok {
			s.Default.Allow = cmp.Or(allow, "-")
		}
	}
	path, raw, ok := o.field("overrides")
	if !ok {
		return s
	}
	var overrides []json.RawMessage
	if json.Unmarshal(raw, &overrides) != nil {
		o.refuse(path, raw, "want a list of objects")
	}
	for i, raw := range overrides {
		at := under(path, strconv.Itoa(i))
		o, ok := o.decoder.object(at, raw)
		if !ok {
			o.refuse(at, raw, "want a JSON object")
		}
		override := Override{Days: o.texts("days"), Deny: o.truth("deny", true), DailyLimit: o.limit("daily_limit")}
		override.Allow, _ = o.text("allow")
		s.Overrides = append(s.Overrides, override)
	}
	return s
}

func (o object) text(name string) (text string, ok bool) {
	path, raw, ok := o.field(name)
	if ok && json.Unmarshal(raw, &text) != nil {
		o.refuse(path, raw, "want a string")
	}
	return text, ok
}

func (o object) texts(name string) []string {
	path, raw, ok := o.field(name)
	if !ok {
		return nil
	}
	var elements []*string
	if json.Unmarshal(raw, &elements) != nil || slices.Contains(elements, nil) {
		o.refuse(path, raw, "want a list of strings")
		return nil
	}
	texts := make([]string, len(elements))
	for i, element := range elements {
		texts[i] = *element
	}
	return texts
}

func (o object) limit(name string) *money.Amount {
	path, raw, ok := o.field(name)
	if !ok {
		return nil
	}
	limit, ok := parseLimit(unquoted(raw))
	if !ok {
		o.refuse(path, raw, "want a number or a numeric string, such as 49.99")
	}
	return &limit
}

func (o object) count(name string) *int {
	path, raw, ok := o.field(name)
	if !ok {
		return nil
	}
	limit, ok := parseLimit(unquoted(raw))
	if !ok {
		o.refuse(path, raw, "want a whole number")
	}
	whole, _, _ := strings.Cut(limit.String(), ".")
	count, _ := strconv.Atoi(whole) // the largest int when it is larger still
	if limit.Sign() < 0 && limit.Decimals() > 0 {
		count-- // down, as limits are rounded
	}
	return &count
}

// truth reads a boolean, or one of the strings and numbers that the service takes for one. It returns doubt for
// anything else: an unclear policy permits less.
func (o object) truth(name string, doubt bool) bool {
	_, raw, ok := o.field(name)
	if !ok {
		return false
	}
	text := strings.ToLower(unquoted(raw))
	switch text {
	case "true", "t", "yes", "y", "on":
		return true
	case "false", "f", "no", "n", "off", "", "[]", "{}":
		return false
	}
	number, ok := parseLimit(text)
	switch {
	case ok && number.IsZero():
		return false
	case ok && number == one:
		return true
	}
	return doubt
}

// unquoted returns the content of a JSON string without space around it, and anything else as it is.
func unquoted(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	return strings.TrimSpace(text)
}

// The digits of an amount before and after its point, as read from JSON.
const (
	wholeDigits    = 12
	fractionDigits = 6
)

var (
	one     = decoded("1")
	finest  = decoded("0.000001")
	largest = decoded("999999999999.999999")
)

// decoded returns the amount of digits that are known to be valid.
func decoded(digits string) money.Amount {
	var a money.Amount
	if err := a.UnmarshalText([]byte(digits)); err != nil {
		panic("policy: " + err.Error())
	}
	return a
}

// parseLimit reads a number in decimal or scientific notation as the largest amount that is not above it, or as the
// nearest amount when it is out of range. An amount is within this limit exactly if it is within the number. Reading
// needs no more memory than the text.
func parseLimit(text string) (limit money.Amount, ok bool) {
	number, scale := text, 0
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		var err error
		if scale, err = strconv.Atoi(text[e+1:]); errors.Is(err, strconv.ErrSyntax) {
			return money.Amount{}, false
		}
		const farOut = 1 << 30 // more digits than a document has
		number, scale = text[:e], min(max(scale, -farOut), farOut)
	}
	number, negative := strings.CutPrefix(number, "-")
	if !negative {
		number = strings.TrimPrefix(number, "+")
	}
	whole, fraction, _ := strings.Cut(number, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return money.Amount{}, false
	}
	significant := strings.TrimLeft(digits, "0")
	// Significant digits before the point; negative when zeros follow it first.
	before := len(whole) + scale - (len(digits) - len(significant))

	below := false // whether the limit is closer to 0 than the number
	switch kept := before + fractionDigits; {
	case significant == "":
	case before > wholeDigits:
		limit = largest
	case kept <= 0:
		below = true
	default:
		n := min(kept, len(significant))
		below = strings.Trim(significant[n:], "0") != ""
		millionths := significant[:n] + strings.Repeat("0", kept-n)
		millionths = strings.Repeat("0", max(0, fractionDigits+1-kept)) + millionths
		point := len(millionths) - fractionDigits
		limit = decoded(millionths[:point] + "." + millionths[point:])
	}
	if !negative {
		return limit, true
	}
	if below && limit.Less(largest) {
		limit = limit.Add(finest) // down is away from 0 here
	}
	return limit.Neg(), true
}

// shortened returns a text for an error, cut when it is very long.
func shortened(text string) string {
	const longest = 80
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
