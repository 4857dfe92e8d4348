package letagentpaytest

import (
	"net/http"
	"strings"

	"github.com/letagentpay/letagentpay-go/operation"
)

const (
	apiRoot  = "/api/v1"
	agentAPI = apiRoot + "/agent-api"
)

var operations = []operation.Op{
	operation.Purchase, operation.Confirm, operation.Request, operation.Requests, operation.Budget, operation.Policy, operation.Categories,
	operation.X402Authorize, operation.X402Report, operation.X402Budget, operation.X402RegisterWallet, operation.X402Wallets,
}

// routes lists the operations by path below /api/v1; {id} stands for one segment.
var routes = map[string]map[string]operation.Op{
	"/agent-api/requests":              {http.MethodPost: operation.Purchase, http.MethodGet: operation.Requests},
	"/agent-api/requests/{id}":         {http.MethodGet: operation.Request},
	"/agent-api/requests/{id}/confirm": {http.MethodPost: operation.Confirm},
	"/agent-api/budget":                {http.MethodGet: operation.Budget},
	"/agent-api/policy":                {http.MethodGet: operation.Policy},
	"/agent-api/categories":            {http.MethodGet: operation.Categories},
	"/x402/authorize":                  {http.MethodPost: operation.X402Authorize},
	"/x402/report":                     {http.MethodPost: operation.X402Report},
	"/x402/budget":                     {http.MethodGet: operation.X402Budget},
	"/x402/wallets":                    {http.MethodPost: operation.X402RegisterWallet, http.MethodGet: operation.X402Wallets},
}

// route finds the operation of a request, and the id in its path. Where there is none, the refusal says why.
func route(r *http.Request) (op operation.Op, id string, refusal *answer) {
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

func lookUp(path string) (methods map[string]operation.Op, id string) {
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
func (s *Server) prepare(op operation.Op, id string, x *exchange) (work func() *answer, refusal *answer) {
	switch op {
	case operation.Purchase:
		b, refusal := parsePurchase(x.body)
		return func() *answer { return s.purchase(x, b) }, refusal
	case operation.Confirm:
		b, refusal := parseConfirm(x.body)
		return func() *answer { return s.confirm(x, id, b) }, refusal
	case operation.Requests:
		q, refusal := parseList(x.query)
		return func() *answer { return s.listRequests(x, q) }, refusal
	case operation.Request:
		return func() *answer { return s.readRequest(x, id) }, nil
	case operation.Budget:
		return func() *answer { return s.readBudget(x) }, nil
	case operation.Policy:
		return func() *answer { return s.readPolicy(x) }, nil
	case operation.Categories:
		return func() *answer { return s.readCategories(x) }, nil
	case operation.X402Authorize:
		b, refusal := parseAuthorize(x.body)
		return func() *answer { return s.authorize(x, b) }, refusal
	case operation.X402Report:
		b, refusal := parseReport(x.body)
		return func() *answer { return s.report(x, b) }, refusal
	case operation.X402Budget:
		return func() *answer { return s.readX402Budget(x) }, nil
	case operation.X402RegisterWallet:
		b, refusal := parseWallet(x.body)
		return func() *answer { return s.registerWallet(x, b) }, refusal
	case operation.X402Wallets:
		return func() *answer { return s.listWallets(x) }, nil
	}
	panic("letagentpaytest: no such operation: " + string(op))
}
