package letagentpaytest

import (
	"net/http"
	"strings"
)

const (
	apiRoot  = "/api/v1"
	agentAPI = apiRoot + "/agent-api"
)

// Op names an operation of the service, for [Fault] and [Call].
type Op string

// The operations of the Agent API and of the x402 API beside it.
const (
	OpPurchase           Op = "purchase"             // POST /requests
	OpConfirm            Op = "confirm"              // POST /requests/{id}/confirm
	OpRequest            Op = "request"              // GET /requests/{id}
	OpRequests           Op = "requests"             // GET /requests
	OpBudget             Op = "budget"               // GET /budget
	OpPolicy             Op = "policy"               // GET /policy
	OpCategories         Op = "categories"           // GET /categories
	OpX402Authorize      Op = "x402_authorize"       // POST /x402/authorize
	OpX402Report         Op = "x402_report"          // POST /x402/report
	OpX402Budget         Op = "x402_budget"          // GET /x402/budget
	OpX402RegisterWallet Op = "x402_register_wallet" // POST /x402/wallets
	OpX402Wallets        Op = "x402_wallets"         // GET /x402/wallets
)

var operations = []Op{
	OpPurchase, OpConfirm, OpRequest, OpRequests, OpBudget, OpPolicy, OpCategories,
	OpX402Authorize, OpX402Report, OpX402Budget, OpX402RegisterWallet, OpX402Wallets,
}

// routes lists the operations by path below /api/v1; {id} stands for one segment.
var routes = map[string]map[string]Op{
	"/agent-api/requests":              {http.MethodPost: OpPurchase, http.MethodGet: OpRequests},
	"/agent-api/requests/{id}":         {http.MethodGet: OpRequest},
	"/agent-api/requests/{id}/confirm": {http.MethodPost: OpConfirm},
	"/agent-api/budget":                {http.MethodGet: OpBudget},
	"/agent-api/policy":                {http.MethodGet: OpPolicy},
	"/agent-api/categories":            {http.MethodGet: OpCategories},
	"/x402/authorize":                  {http.MethodPost: OpX402Authorize},
	"/x402/report":                     {http.MethodPost: OpX402Report},
	"/x402/budget":                     {http.MethodGet: OpX402Budget},
	"/x402/wallets":                    {http.MethodPost: OpX402RegisterWallet, http.MethodGet: OpX402Wallets},
}

// route finds the operation of a request, and the id in its path. Where there is none, the refusal says why.
func route(r *http.Request) (op Op, id string, refusal *answer) {
	methods, id := lookUp(r.URL.Path)
	if methods == nil {
		if trimmed, ok := strings.CutSuffix(r.URL.Path, "/"); ok {
			if methods, _ := lookUp(trimmed); methods != nil {
				target := *r.URL
				target.Path, target.RawPath = trimmed, ""
				return "", "", &answer{
					status: http.StatusTemporaryRedirect,
					header: http.Header{"Location": {target.RequestURI()}},
				}
			}
		}
		return "", "", errorAnswer(http.StatusNotFound, "Not Found")
	}
	op, ok := methods[r.Method]
	if !ok {
		refusal := errorAnswer(http.StatusMethodNotAllowed, "Method Not Allowed")
		allowed := http.MethodGet
		if _, ok := methods[http.MethodGet]; !ok {
			allowed = http.MethodPost
		}
		refusal.header = http.Header{"Allow": {allowed}}
		return "", "", refusal
	}
	return op, id, nil
}

func lookUp(path string) (methods map[string]Op, id string) {
	path, ok := strings.CutPrefix(path, apiRoot)
	if !ok {
		return nil, ""
	}
	const requests = "/agent-api/requests/"
	if rest, ok := strings.CutPrefix(path, requests); ok {
		id, _, _ = strings.Cut(rest, "/")
		if id == "" {
			return nil, ""
		}
		path = requests + "{id}" + rest[len(id):]
	}
	return routes[path], id
}

// prepare checks a call's body or query and returns the work to do, or the refusal to give in its place.
func (s *Server) prepare(op Op, id string, x *exchange) (work func() *answer, refusal *answer) {
	switch op {
	case OpPurchase:
		b, refusal := parsePurchase(x.body)
		return func() *answer { return s.purchase(x, b) }, refusal
	case OpConfirm:
		b, refusal := parseConfirm(x.body)
		return func() *answer { return s.confirm(x, id, b) }, refusal
	case OpRequests:
		q, refusal := parseList(x.query)
		return func() *answer { return s.listRequests(x, q) }, refusal
	case OpRequest:
		return func() *answer { return s.readRequest(x, id) }, nil
	case OpBudget:
		return func() *answer { return s.readBudget(x) }, nil
	case OpPolicy:
		return func() *answer { return s.readPolicy(x) }, nil
	case OpCategories:
		return func() *answer { return s.readCategories(x) }, nil
	case OpX402Authorize:
		b, refusal := parseAuthorize(x.body)
		return func() *answer { return s.authorize(x, b) }, refusal
	case OpX402Report:
		b, refusal := parseReport(x.body)
		return func() *answer { return s.report(x, b) }, refusal
	case OpX402Budget:
		return func() *answer { return s.readX402Budget(x) }, nil
	case OpX402RegisterWallet:
		b, refusal := parseWallet(x.body)
		return func() *answer { return s.registerWallet(x, b) }, refusal
	case OpX402Wallets:
		return func() *answer { return s.listWallets(x) }, nil
	}
	panic("letagentpaytest: no such operation: " + string(op))
}
