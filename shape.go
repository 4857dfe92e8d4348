package letagentpay

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/letagentpay/letagentpay-go/internal/api"
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
	walletShape  = shapeOf[api.X402Wallet]("wallet_address", "chain", "created_at")
	walletsShape = walletShape.inArray()
)

// orNull marks a required member that may be null, but not missing.
const orNull = "|null"

// shape says which members an object of an answer may have, and which it must have.
type shape struct {
	members []member // at most 64
	array   bool     // an array of such objects
}

type member struct {
	name               string
	hash               uint32 // of the folded name
	required, nullable bool
	shape              *shape // of the object that it is, or of the objects in the array that it is; nil: anything
}

// shapeOf returns the shape of the objects that decode into T. Required members are named by their path: "a.b" is the
// member b of the object a, or of each object in the array a. It panics when T has no such member.
func shapeOf[T any](required ...string) *shape {
	whole := shapeOfType(reflect.TypeFor[T]())
	for _, path := range required {
		name, nullable := strings.CutSuffix(path, orNull)
		within := whole
		for before, rest, more := strings.Cut(name, "."); more; before, rest, more = strings.Cut(rest, ".") {
			within, name = within.member(before).shape, rest
		}
		m := within.member(name)
		m.required, m.nullable = true, nullable
	}
	return whole
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
		s.members = append(s.members, member{name: name, hash: foldedHash([]byte(name)), shape: shapeOfType(field.Type)})
	}
	return s
}

func (sh *shape) member(name string) *member {
	i := slices.IndexFunc(sh.members, func(m member) bool { return m.name == name })
	return &sh.members[i]
}

// inArray returns the shape of an array of such objects.
func (sh *shape) inArray() *shape { return &shape{members: sh.members, array: true} }

// complete reports the first required member that is not present.
func (sh *shape) complete(present uint64) error {
	if sh == nil {
		return nil
	}
	for i := range sh.members {
		if m := &sh.members[i]; m.required && present&(1<<i) == 0 {
			return fmt.Errorf("%w: %q", errIncomplete, m.name)
		}
	}
	return nil
}

// checkShape checks valid JSON; see decodeAs.
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
