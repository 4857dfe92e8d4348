// Package operation names what the SDK does, in one spelling for errors, observers, injected faults and logs.
//
// An operation is one endpoint of the service, or one of the SDK's own operations that use several of them.
package operation

// Op names an operation. The zero value is no operation.
type Op string

// The operations of the service, one for each endpoint of the Agent API and the x402 API.
const (
	Purchase           Op = "purchase"             // POST /agent-api/requests
	Confirm            Op = "confirm"              // POST /agent-api/requests/{id}/confirm
	Request            Op = "request"              // GET /agent-api/requests/{id}
	Requests           Op = "requests"             // GET /agent-api/requests
	Budget             Op = "budget"               // GET /agent-api/budget
	Policy             Op = "policy"               // GET /agent-api/policy
	Categories         Op = "categories"           // GET /agent-api/categories
	X402Authorize      Op = "x402_authorize"       // POST /x402/authorize
	X402Report         Op = "x402_report"          // POST /x402/report
	X402Budget         Op = "x402_budget"          // GET /x402/budget
	X402RegisterWallet Op = "x402_register_wallet" // POST /x402/wallets
	X402Wallets        Op = "x402_wallets"         // GET /x402/wallets
)

// The SDK's own operations, which contain operations of the service.
const (
	Guard Op = "guard" // a call of a guarded function, or the time from Authorize to Settle
	Wait  Op = "wait"  // a wait for a decision
)
