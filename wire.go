package letagentpay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/policy"
)

var (
	errNoObject   = errors.New("want a JSON object")
	errNoArray    = errors.New("want a JSON array")
	errIncomplete = errors.New("a required field is missing")
	errTooDeep    = errors.New("the JSON is nested too deeply")
	errTooMany    = errors.New("a JSON object has too many members")
)

// What the answers must hold to be answers. Required is what the API's description requires and does not let be null;
// what may be null there may be missing as well. A request's created_at and a budget's held may be missing although the
// description requires them, and the policy must be there although it may be null: without it an empty object would say
// that there are no rules.
var (
	purchaseShape = shapeOf[api.PurchaseResult]("request_id", "status", "currency", "category", "auto_approved",
		"policy_check", "policy_check.passed", "policy_check.checks", "policy_check.checks.rule", "policy_check.checks.result")
	requestShape = shapeOf[api.RequestDetail]("request_id", "status", "amount", "category")
	listShape    = shapeOf[api.RequestList]("requests", "requests.request_id", "requests.status", "requests.amount",
		"requests.currency", "requests.category", "requests.created_at")
	confirmationShape = shapeOf[api.Confirmation]("request_id", "status")
	budgetShape       = shapeOf[api.Budget]("budget", "spent", "remaining", "currency")
	policyShape       = shapeOf[api.PolicyDocument]("policy" + orNull)
	categoriesShape   = shapeOf[api.CategoryList]("categories")
	refusalShape      = shapeOf[api.Error]("detail")

	authorizationShape = shapeOf[api.X402Authorization]("authorized")
	reportShape        = shapeOf[api.X402Report]("recorded", "transaction_id")
	x402BudgetShape    = shapeOf[api.X402Budget]("agent_id", "budget", "spent", "remaining", "x402_policy",
		"x402_policy.daily_spent", "x402_policy.monthly_spent", "wallets", "wallets.address", "wallets.chain")
	walletShape = shapeOf[api.X402Wallet]("wallet_address", "chain", "created_at")
)

// orNull marks a required member that may be null, but not missing.
const orNull = "|null"

// shape says which members an object of an answer may have, and which it must have.
type shape struct {
	members []member // at most 64
}

type member struct {
	name               string
	hash               uint32 // of the folded name
	required, nullable bool
	of                 *shape // of the object that it is, or of the objects in the array that it is; nil: anything
}

// shapeOf returns the shape of the objects that decode into T. Required members are named by their path: "a.b" is the
// member b of the object a, or of each object in the array a. It panics when T has no such member.
func shapeOf[T any](required ...string) *shape {
	whole := shapeOfType(reflect.TypeFor[T]())
	for _, path := range required {
		name, nullable := strings.CutSuffix(path, orNull)
		within := whole
		for before, rest, more := strings.Cut(name, "."); more; before, rest, more = strings.Cut(rest, ".") {
			within, name = within.member(before).of, rest
		}
		m := within.member(name)
		m.required, m.nullable = true, nullable
	}
	return whole
}

func (s *shape) member(name string) *member {
	i := slices.IndexFunc(s.members, func(m member) bool { return m.name == name })
	return &s.members[i]
}

func shapeOfType(t reflect.Type) *shape {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	s := new(shape)
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		s.members = append(s.members, member{name: name, hash: foldedHash([]byte(name)), of: shapeOfType(field.Type)})
	}
	return s
}

// decodeObject decodes a JSON object and nothing else; a null would leave the target as it is and look like success.
// Beyond what encoding/json checks, it refuses what can be read in two ways or would be guessed at: members whose names
// differ in case alone, at any depth, members whose names are known in another case, and missing members of the shape.
// The target is of no use when there is an error.
func decodeObject(data []byte, target any, want *shape) error {
	if firstOf(data) != '{' {
		return errNoObject
	}
	return decodeShaped(data, target, want)
}

// decodeArray is decodeObject for an array of objects of one shape.
func decodeArray(data []byte, target any, want *shape) error {
	if firstOf(data) != '[' {
		return errNoArray
	}
	return decodeShaped(data, target, want)
}

func decodeShaped(data []byte, target any, want *shape) error {
	if err := json.Unmarshal(data, target); err != nil {
		return err
	}
	return checkShape(data, want)
}

// checkShape checks valid JSON; see decodeObject.
func checkShape(data []byte, want *shape) error {
	s := scanner{data: data}
	_, err := s.value(want, 0)
	return err
}

// firstOf returns the first byte that is no white space, or 0.
func firstOf(data []byte) byte {
	for _, c := range data {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

const (
	maxDepth   = 64
	maxMembers = 1000 // of one object; each is compared with all others
)

// scanner goes through JSON that is known to be valid, once. On other input it ends as well, in an error or not.
type scanner struct {
	data []byte
	at   int
	// The members so far of all objects that are open: as many as an ordinary answer has, and what is beyond them.
	keys [32]key
	more []key
	open int
}

// key is where the name of a member stands, without its quotes.
type key struct {
	hash       uint32 // of the folded name
	start, end uint32
}

func (s *scanner) key(i int) key {
	if i < len(s.keys) {
		return s.keys[i]
	}
	return s.more[i-len(s.keys)]
}

func (s *scanner) push(k key) {
	if s.open < len(s.keys) {
		s.keys[s.open] = k
	} else {
		s.more = append(s.more[:s.open-len(s.keys)], k)
	}
	s.open++
}

// value reads the value that comes next and reports whether it is null.
func (s *scanner) value(want *shape, depth int) (null bool, err error) {
	if depth > maxDepth {
		return false, errTooDeep
	}
	switch s.peek() {
	case '{':
		return false, s.object(want, depth)
	case '[':
		return false, s.array(want, depth)
	case '"':
		s.skipText()
		return false, nil
	case 'n':
		s.at += len("null")
		return true, nil
	default:
		s.scalar()
		return false, nil
	}
}

// scalar skips a number, true or false.
func (s *scanner) scalar() {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return
		}
	}
}

// peek skips white space and returns the byte that comes next, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.data); s.at++ {
		if c := s.data[s.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

func (s *scanner) array(want *shape, depth int) error {
	for s.at++; ; s.at++ {
		if c := s.peek(); c == ']' || c == 0 {
			s.at++
			return nil
		}
		null, err := s.value(want, depth+1)
		if err != nil {
			return err
		}
		if null && want != nil {
			return fmt.Errorf("%w: an object in a list is null", errIncomplete)
		}
		if s.peek() != ',' {
			s.at++
			return nil
		}
	}
}

func (s *scanner) object(want *shape, depth int) error {
	first := s.open
	present := uint64(0) // bits of the shape's members
	for s.at++; s.peek() == '"'; s.at++ {
		k, plain := s.text()
		m, err := s.member(want, first, k, plain)
		if err != nil {
			return err
		}
		s.peek()
		s.at++ // the colon
		var of *shape
		if m >= 0 {
			of = want.members[m].of
		}
		null, err := s.value(of, depth+1)
		if err != nil {
			return err
		}
		if m >= 0 && (!null || want.members[m].nullable) {
			present |= 1 << m
		}
		if s.peek() != ',' {
			break
		}
	}
	s.at++
	s.open = first
	return want.complete(present)
}

// complete reports the first required member that is not present.
func (s *shape) complete(present uint64) error {
	if s == nil {
		return nil
	}
	for i := range s.members {
		if m := &s.members[i]; m.required && present&(1<<i) == 0 {
			return fmt.Errorf("%w: %q", errIncomplete, m.name)
		}
	}
	return nil
}

// member notes the name of a member, and returns its place in the shape or -1.
func (s *scanner) member(want *shape, first int, k key, plain bool) (int, error) {
	if !plain {
		k.hash = foldedHash([]byte(folded(s.name(k, false))))
	}
	if s.open-first >= maxMembers {
		return 0, errTooMany
	}
	for i := first; i < s.open; i++ {
		if other := s.key(i); other.hash == k.hash && folded(s.name(other, false)) == folded(s.name(k, plain)) {
			return 0, fmt.Errorf("a JSON object has the member %s twice", quoted(s.name(k, plain), shortText))
		}
	}
	s.push(k)
	if want == nil {
		return -1, nil
	}
	for i := range want.members {
		m := &want.members[i]
		if m.hash != k.hash {
			continue
		}
		if plain && string(s.data[k.start:k.end]) == m.name {
			return i, nil
		}
		switch name := s.name(k, plain); {
		case name == m.name:
			return i, nil
		case folded(name) == folded(m.name):
			return 0, fmt.Errorf("the member %q is spelled %s", m.name, quoted(name, shortText))
		}
	}
	return -1, nil
}

// name returns the name at k. A plain one stands there as it is; any may be decoded.
func (s *scanner) name(k key, plain bool) string {
	if plain {
		return string(s.data[k.start:k.end])
	}
	// The copy keeps the scanner on the stack.
	text := bytes.Clone(s.data[k.start-1 : min(int(k.end)+1, len(s.data))])
	var name string
	if json.Unmarshal(text, &name) != nil {
		return string(s.data[k.start:k.end])
	}
	return name
}

// skipText skips a string.
func (s *scanner) skipText() {
	for s.at++; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// text reads the name that comes next. Plain: it has no escapes and is ASCII; the hash is that of a plain one.
func (s *scanner) text() (k key, plain bool) {
	s.at++
	k.start, plain = uint32(s.at), true
	hash := uint32(hashOffset)
	for ; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		c := s.data[s.at]
		if c == '\\' || c >= 0x80 {
			plain = false
			if c == '\\' {
				s.at++
			}
		}
		hash = (hash ^ uint32(lower(c))) * hashPrime
	}
	s.at = min(s.at, len(s.data))
	k.end, k.hash = uint32(s.at), hash
	s.at++
	return k, plain
}

// The hash is FNV-1a.
const hashOffset, hashPrime = 2166136261, 16777619

func foldedHash(name []byte) uint32 {
	hash := uint32(hashOffset)
	for _, c := range name {
		hash = (hash ^ uint32(lower(c))) * hashPrime
	}
	return hash
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// folded returns a form of name that is the same for all names that encoding/json takes for the same.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				r = next
				break
			}
			r = next
		}
		if r < 0x80 {
			r = rune(lower(byte(r)))
		}
		return r
	}, name)
}

// checkAnsweredID wants an id that can be sent back.
func checkAnsweredID(id string) error {
	if checkRequestID(id) != nil {
		return errors.New("the request id " + quoted(id, shortText) + " is none that a request can have")
	}
	return nil
}

// checksOf returns the checks as callers see them: the detail, which is for people, is cleaned.
func checksOf(answered []api.Check) []Check {
	checks := slices.Grow([]Check(nil), len(answered))
	for _, check := range answered {
		checks = append(checks, Check{Rule: check.Rule, Result: policy.Result(check.Result), Detail: cleaned(check.Detail, longText)})
	}
	return checks
}

// contradicts reports where the answer contradicts itself. States that the service may learn, and those in which nothing
// can be spent any more, are taken as they are.
func (p *Purchase) contradicts() error {
	failed := slices.ContainsFunc(p.PolicyCheck.Checks, func(check Check) bool {
		return strings.EqualFold(string(check.Result), string(policy.Fail))
	})
	automatic := p.Status == StatusAutoApproved
	switch {
	case p.Status.Approved() && !p.PolicyCheck.Passed:
		return errors.New("approved, although the policy check did not pass")
	case p.Status.Approved() && failed:
		return errors.New("approved, although a check failed")
	case p.Status == StatusPending && failed && p.PolicyCheck.Passed:
		return errors.New("the policy check passed, although a check failed")
	case p.AutoApproved != automatic && (p.Status.Approved() || p.Status == StatusPending || p.Status == StatusRejected):
		return fmt.Errorf("%s, although auto_approved is %t", p.Status, p.AutoApproved)
	}
	return nil
}

// optional returns nil for an empty string, which the wire form leaves out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
