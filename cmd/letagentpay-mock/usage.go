package main

const usage = `letagentpay-mock is the LetAgentPay service in a box: policies, budgets, approvals, expiry and x402,
answering as the real service was recorded to answer. Everything is in memory; no account, no real money.

Usage:  letagentpay-mock [flags]

  -addr HOST:PORT   where to listen (default 127.0.0.1:8787; port 0 picks a free one).
                    Anything but loopback needs -token.
  -scenario FILE    the accounts and agents to begin with, as JSON. The default is one agent with a
                    budget of 1000.00 USD and no policy, so that every purchase waits for approval.
  -token agt_...    the token of the agent "main". The default is a random one for each scenario.
                    Away from loopback the control API asks for it as well, as a bearer token.
  -races DURATION   let overlapping calls race as they do at the real service, each purchase and confirmation taking
                    so long from its check to its commit ("6s"; "0s" leaves it to chance). By default each call is
                    carried out at one instant.
  -help             this text

When ready it prints one line: {"base_url":...,"token":...,"control_url":...}. Point a client there:

  LETAGENTPAY_BASE_URL=<base_url> LETAGENTPAY_TOKEN=<token> your-agent

SIGINT and SIGTERM end it. Exit codes: 0 ended, 1 could not serve, 2 wrong arguments.

Besides the API it serves /openapi.yaml, the contract, and /llms.txt, a page for language models.

Control API: JSON in and out; errors are {"error": "..."}.

  PUT    /_control/scenario               {"start"?, "account"?, "agent"?, "agents"?, "accounts"?, "rates"?}
                                          start over with these; answers base_url, token, now, agents (tokens)
  POST   /_control/requests/{id}/approve  decide a pending request as its owner would;
  POST   /_control/requests/{id}/reject   409 when it is not pending or its time is over
  POST   /_control/clock                  {"advance_seconds": 1800} or {"set": "2026-03-11T12:00:00Z"}; never back
  POST   /_control/sweep                  expire what is overdue. By itself that happens each minute; after a
                                          scenario only here, on a read, or on an approval that comes too late
  PATCH  /_control/agent                  any of status, budget, spent, held, policy, auto_replenish
  PATCH  /_control/account                any of currency, timezone, request_expiry_minutes, categories, aliases,
                                          budget_rules, blocked, all_agents_paused
  PATCH  /_control/agents/{name}          the same for another agent
  PATCH  /_control/accounts/{name}        the same for another account
  POST   /_control/agents                 {"name"?, "account"?, "budget"?, "policy"?, ...}: another agent, with its token
  POST   /_control/rates                  {"pair": "EURC/USD", "rate": "1.08"}
  POST   /_control/faults                 an outage: {"op"?, "times"?, "status"?, "after_commit"?, "body"?, "non_json"?,
                                          "header"?, "drop"?: "before" | "after", "delay"?: "1.5s", "truncate"?,
                                          "slow_bytes"?: "10ms", "gateway_timeout"?: "3s"}; op is purchase, confirm,
                                          request, requests, budget, policy, categories or x402_*; times -1 is until
                                          cleared. When a call takes longer than gateway_timeout, by its delay or by
                                          races, the client gets the status (504) or the drop then, and the call is
                                          carried out later
  DELETE /_control/faults                 end all outages
  PUT    /_control/races                  {"purchase"?: "6s", "confirm"?: "50ms", "store"?: "10ms"}: as with -races. A
                                          purchase checks its Idempotency-Key, waits, commits, waits for "store" and
                                          stores its answer, so overlapping ones under one key each buy; a confirmation
                                          checks the status, waits and commits, so overlapping failures each refund;
                                          calls continue without their clients. A new scenario keeps this setting
  DELETE /_control/races                  carry out each call at one instant
  GET    /_control/state                  now, agents, budgets, requests, calls

An example, with TOKEN and ID from the answers before:

  curl -X PATCH http://127.0.0.1:8787/_control/agent -d '{"policy": {"auto_approve": {"enabled": true, "max_amount": 50}}}'
  curl http://127.0.0.1:8787/api/v1/agent-api/requests -H "Authorization: Bearer $TOKEN" \
       -H "Content-Type: application/json" -d '{"amount": 120, "category": "electronics"}'
  curl -X POST http://127.0.0.1:8787/_control/requests/$ID/approve
`
