// Package operation names what the SDK does, in one spelling for errors, observers, injected faults and logs.
//
// An operation is one endpoint of the service, or one of the SDK's own operations that use several of them.
package operation

import "net/http"

// Op names an operation. The zero value is no operation.
type Op string

// The operations of the service, one for each endpoint of the Agent API and the x402 API; see [Op.Endpoint].
const (
	Purchase           Op = "purchase"
	Confirm            Op = "confirm"
	Request            Op = "request"
	Requests           Op = "requests"
	Budget             Op = "budget"
	Policy             Op = "policy"
	Categories         Op = "categories"
	X402Authorize      Op = "x402_authorize"
	X402Report         Op = "x402_report"
	X402Budget         Op = "x402_budget"
	X402RegisterWallet Op = "x402_register_wallet"
	X402Wallets        Op = "x402_wallets"
)

// The SDK's own operations, which contain operations of the service.
const (
	Guard Op = "guard" // a call of a guarded function, or the time from Authorize to Settle
	Wait  Op = "wait"  // a wait for a decision
)

// Endpoint returns the HTTP method and the path of an operation of the service, as openapi.yaml spells them:
// "{request_id}" in the path stands for the id of a request. Both are empty for other operations.
func (op Op) Endpoint() (method, path string) {
	switch op {
	case Purchase:
		return http.MethodPost, "/agent-api/requests"
	case Confirm:
		return http.MethodPost, "/agent-api/requests/{request_id}/confirm"
	case Request:
		return http.MethodGet, "/agent-api/requests/{request_id}"
	case Requests:
		return http.MethodGet, "/agent-api/requests"
	case Budget:
		return http.MethodGet, "/agent-api/budget"
	case Policy:
		return http.MethodGet, "/agent-api/policy"
	case Categories:
		return http.MethodGet, "/agent-api/categories"
	case X402Authorize:
		return http.MethodPost, "/x402/authorize"
	case X402Report:
		return http.MethodPost, "/x402/report"
	case X402Budget:
		return http.MethodGet, "/x402/budget"
	case X402RegisterWallet:
		return http.MethodPost, "/x402/wallets"
	case X402Wallets:
		return http.MethodGet, "/x402/wallets"
	}
	return "", ""
}
