package letagentpaytest

import (
	"net/http"
	"strings"

	"github.com/letagentpay/letagentpay-go/internal/api"
	"github.com/letagentpay/letagentpay-go/operation"
)

const (
	apiRoot  = "/api/v1"
	agentAPI = apiRoot + "/agent-api"
)

// endpoint is one operation of the service: its name, its route below apiRoot, and the method that handles it.
type endpoint struct {
	op     operation.Op
	method string
	path   string
	handle func(handlers, *exchange) task
}

// endpoints lists the operations. The routes, the dispatch and the operations of faults derive from it.
var endpoints = []endpoint{
	{operation.Purchase, http.MethodPost, "/agent-api/requests", handlers.CreateRequest},
	{operation.Confirm, http.MethodPost, "/agent-api/requests/{request_id}/confirm", handlers.ConfirmRequest},
	{operation.Request, http.MethodGet, "/agent-api/requests/{request_id}", handlers.GetRequest},
	{operation.Requests, http.MethodGet, "/agent-api/requests", handlers.ListRequests},
	{operation.Budget, http.MethodGet, "/agent-api/budget", handlers.GetBudget},
	{operation.Policy, http.MethodGet, "/agent-api/policy", handlers.GetPolicy},
	{operation.Categories, http.MethodGet, "/agent-api/categories", handlers.ListCategories},
	{operation.X402Authorize, http.MethodPost, "/x402/authorize", handlers.AuthorizeX402},
	{operation.X402Report, http.MethodPost, "/x402/report", handlers.ReportX402},
	{operation.X402Budget, http.MethodGet, "/x402/budget", handlers.GetX402Budget},
	{operation.X402RegisterWallet, http.MethodPost, "/x402/wallets", handlers.RegisterX402Wallet},
	{operation.X402Wallets, http.MethodGet, "/x402/wallets", handlers.ListX402Wallets},
}

// routes holds the endpoints by path, then by method.
var routes = routesOf(endpoints)

func routesOf(endpoints []endpoint) map[string]map[string]endpoint {
	routes := map[string]map[string]endpoint{}
	for _, e := range endpoints {
		if routes[e.path] == nil {
			routes[e.path] = map[string]endpoint{}
		}
		routes[e.path][e.method] = e
	}
	return routes
}

// route finds the endpoint of a request, and the id in its path. Without an endpoint, the refusal says why.
func route(r *http.Request) (e endpoint, id string, refusal *answer) {
	methods, id := lookUp(r.URL.Path)
	if methods == nil {
		if trimmed, ok := strings.CutSuffix(r.URL.Path, "/"); ok {
			if methods, _ := lookUp(trimmed); methods != nil {
				target := *r.URL
				target.Path, target.RawPath = trimmed, ""
				return endpoint{}, "", &answer{
					status: http.StatusTemporaryRedirect,
					header: http.Header{"Location": {target.RequestURI()}},
				}
			}
		}
		return endpoint{}, "", errorAnswer(http.StatusNotFound, "Not Found")
	}
	e, ok := methods[r.Method]
	if !ok {
		refusal := errorAnswer(http.StatusMethodNotAllowed, "Method Not Allowed")
		allowed := http.MethodGet
		if _, ok := methods[http.MethodGet]; !ok {
			allowed = http.MethodPost
		}
		refusal.header = http.Header{"Allow": {allowed}}
		return endpoint{}, "", refusal
	}
	return e, id, nil
}

func lookUp(path string) (methods map[string]endpoint, id string) {
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
		path = requests + "{request_id}" + rest[len(id):]
	}
	return routes[path], id
}

// task is a call whose body or query has been checked: the work to do while the account is locked, or the refusal that
// replaces the work. The refusal is sent only to an agent that may call.
type task struct {
	work    func() *answer
	refusal *answer
}

// handlers has a method for each operation, named as in openapi.yaml. Each checks the body or query of a call.
type handlers struct{ server *Server }

// An operation of openapi.yaml without a method here is an error at compile time.
var _ api.Handlers[*exchange, task] = handlers{}

func (h handlers) CreateRequest(x *exchange) task {
	body, refusal := parsePurchase(x.body)
	return task{func() *answer { return h.server.purchase(x, body) }, refusal}
}

func (h handlers) ConfirmRequest(x *exchange) task {
	body, refusal := parseConfirm(x.body)
	return task{func() *answer { return h.server.confirm(x, body) }, refusal}
}

func (h handlers) ListRequests(x *exchange) task {
	query, refusal := parseList(x.query)
	return task{func() *answer { return h.server.listRequests(x, query) }, refusal}
}

func (h handlers) GetRequest(x *exchange) task {
	return task{work: func() *answer { return h.server.readRequest(x) }}
}

func (h handlers) GetBudget(x *exchange) task {
	return task{work: func() *answer { return h.server.readBudget(x) }}
}

func (h handlers) GetPolicy(x *exchange) task {
	return task{work: func() *answer { return h.server.readPolicy(x) }}
}

func (h handlers) ListCategories(x *exchange) task {
	return task{work: func() *answer { return h.server.readCategories(x) }}
}

func (h handlers) AuthorizeX402(x *exchange) task {
	body, refusal := parseAuthorize(x.body)
	return task{func() *answer { return h.server.authorize(x, body) }, refusal}
}

func (h handlers) ReportX402(x *exchange) task {
	body, refusal := parseReport(x.body)
	return task{func() *answer { return h.server.report(x, body) }, refusal}
}

func (h handlers) GetX402Budget(x *exchange) task {
	return task{work: func() *answer { return h.server.readX402Budget(x) }}
}

func (h handlers) RegisterX402Wallet(x *exchange) task {
	body, refusal := parseWallet(x.body)
	return task{func() *answer { return h.server.registerWallet(x, body) }, refusal}
}

func (h handlers) ListX402Wallets(x *exchange) task {
	return task{work: func() *answer { return h.server.listWallets(x) }}
}
