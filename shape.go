package letagentpay

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/letagentpay/letagentpay-go/internal/api"
)

// The shapes of responses. A member is required if the API's description requires it and does not let it be null; a
// member that may be null may also be missing. There are exceptions: a request's created_at and a budget's held and
// currency may be missing, and the policy must be present although it may be null, because otherwise an empty object
// would mean that there are no rules.
var (
	purchaseShape = shapeOf[api.PurchaseResult]("request_id", "status", "currency", "category", "auto_approved",
		"policy_check", "policy_check.passed", "policy_check.checks", "policy_check.checks.rule",
		"policy_check.checks.result")
	requestShape = shapeOf[api.RequestDetail]("request_id", "status", "amount", "category")
	listShape    = shapeOf[api.RequestList]("requests", "requests.request_id", "requests.status", "requests.amount",
		"requests.currency", "requests.category", "requests.created_at")
	confirmationShape = shapeOf[api.Confirmation]("request_id", "status")
	budgetShape       = shapeOf[api.Budget]("budget", "spent", "remaining")
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

// orNull marks a required member that may be null but not missing.
const orNull = "|null"

// shape lists the members that an object of a response may have and those that it must have.
type shape struct {
	members []member // at most 64
	array   bool     // an array of such objects
}

// member is one member of a shape.
type member struct {
	name               string
	hash               uint32 // of the folded name
	required, nullable bool
	shape              *shape // of the member's value, or of the objects in it if it is an array; nil: any value
}

// shapeOf returns the shape of the objects that decode into T. A required member is named by its path: "a.b" is member
// b of the object a, or of each object in the array a. shapeOf panics if T has no such member.
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

// shapeOfType returns the shape of the objects that decode into t or its elements, or nil for anything but structs.
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
		hash, of := foldedHash([]byte(name)), shapeOfType(field.Type)
		s.members = append(s.members, member{name: name, hash: hash, shape: of})
	}
	return s
}

// member returns the member with a name. It panics if there is no such member.
func (sh *shape) member(name string) *member {
	i := slices.IndexFunc(sh.members, func(m member) bool { return m.name == name })
	return &sh.members[i]
}

// inArray returns the shape of an array of such objects.
func (sh *shape) inArray() *shape { return &shape{members: sh.members, array: true} }

// complete returns an error that names the first required member that is not present.
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

// checkShape checks valid JSON against a shape; see decodeAs.
func checkShape(data []byte, want *shape) error {
	s := scanner{data: data}
	_, err := s.value(want, 0)
	return err
}

// firstOf returns the first byte that is not white space, or 0.
func firstOf(data []byte) byte {
	for _, c := range data {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}
