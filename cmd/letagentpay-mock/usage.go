package main

import (
	"fmt"
	"strings"
)

const usageIntro = `letagentpay-mock is the LetAgentPay service in a box: policies, budgets, approvals, expiry and x402,
answering as the real service was recorded to answer. Everything is in memory; no account, no real money.

Usage:  letagentpay-mock [flags]

  -addr HOST:PORT   where to listen (default 127.0.0.1:8787; port 0 picks a free one).
                    Any other address than loopback needs -token.
  -scenario FILE    the accounts and agents to begin with, as JSON. The default is one agent with a
                    budget of 1000.00 USD and no policy, so that every purchase waits for approval.
  -token agt_...    the token of the agent "main". The default is a random one for each scenario.
                    Unless -addr is loopback, the control API requires it too, as a bearer token.
  -races DURATION   let overlapping calls race as they do at the real service. Each purchase and each
                    confirmation takes this long from its check to its commit ("6s"; "0s" leaves it to
                    chance). By default each call is carried out at one instant.
  -help             this text

When ready it prints one line: {"base_url":...,"control_url":...,"token":...}. Point a client there:

  LETAGENTPAY_BASE_URL=<base_url> LETAGENTPAY_TOKEN=<token> your-agent

SIGINT and SIGTERM end it. Exit codes: 0 ended, 1 could not serve, 2 wrong arguments.

Besides the API it serves /openapi.yaml, the contract, and /llms.txt, a page for language models.

Control API: JSON in and out; errors are {"error": "..."}.

`

const usageExample = `
An example, with TOKEN and ID from the answers before:

  curl -X PATCH http://127.0.0.1:8787/_control/agent \
       -d '{"policy": {"auto_approve": {"enabled": true, "max_amount": 50}}}'
  curl http://127.0.0.1:8787/api/v1/agent-api/requests -H "Authorization: Bearer $TOKEN" \
       -H "Content-Type: application/json" -d '{"amount": 120, "category": "electronics"}'
  curl -X POST http://127.0.0.1:8787/_control/requests/$ID/approve
`

// usage returns the text that -help prints.
func usage() string { return usageIntro + controlUsage() + usageExample }

// controlUsage returns the list of control routes: method, path and help in columns.
func controlUsage() string {
	const helpColumn = 42
	var list strings.Builder
	for _, route := range controlRoutes {
		for i, line := range strings.Split(route.help, "\n") {
			start := ""
			if i == 0 {
				start = fmt.Sprintf("  %-6s %s", route.method, controlPrefix+route.path)
			}
			fmt.Fprintf(&list, "%-*s%s\n", helpColumn, start, strings.TrimSpace(line))
		}
	}
	return list.String()
}
