package policy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/policy"
)

const (
	decisionsFile = "testdata/decisions.jsonl"
	recordings    = "../letagentpaytest/testdata/conformance/*.jsonl.gz"
)

var update = flag.Bool("update", false, "extract "+decisionsFile+" from the recordings anew")

// account is a line of decisionsFile: an account and its agent in a recorded scenario, and the purchases made there.
type account struct {
	Name      string          `json:"name"`
	Timezone  string          `json:"timezone"`
	Budget    money.Amount    `json:"budget"`
	Policy    json.RawMessage `json:"policy"`
	Rules     []rule          `json:"rules,omitempty"`
	Purchases []purchase      `json:"purchases"`
}

// rule is a budget rule as recorded.
type rule struct {
	Name     string          `json:"name"`
	Type     policy.RuleType `json:"limit_type"`
	Limit    money.Amount    `json:"limit_amount"`
	Priority int             `json:"priority,omitempty"`
	IsActive *bool           `json:"is_active,omitempty"`
	Days     []int           `json:"days_of_week,omitzero"`
	Start    time.Time       `json:"start_at,omitzero"`
	End      time.Time       `json:"end_at,omitzero"`
}

// purchase has what was true before a purchase, and what the service decided.
type purchase struct {
	Now       time.Time      `json:"now"`
	Amount    money.Amount   `json:"amount"`
	Category  string         `json:"category"`
	Spent     money.Amount   `json:"spent,omitzero"`
	Held      money.Amount   `json:"held,omitzero"`
	Today     money.Amount   `json:"today,omitzero"`
	ThisWeek  money.Amount   `json:"this_week,omitzero"`
	ThisMonth money.Amount   `json:"this_month,omitzero"`
	Minute    int            `json:"minute,omitempty"`
	Hour      int            `json:"hour,omitempty"`
	Counted   []money.Amount `json:"counted,omitempty"` // of each rule
	Checks    []string       `json:"checks"`            // result and rule
	Status    string         `json:"status"`
}

func TestRecordedDecisions(t *testing.T) {
	if *update {
		extractDecisions(t)
	}
	lines, err := os.ReadFile(decisionsFile)
	require.NoError(t, err)
	replayed := 0
	for line := range bytes.Lines(lines) {
		var a account
		require.NoError(t, json.Unmarshal(line, &a))
		t.Run(a.Name, func(t *testing.T) {
			p, err := policy.Parse(a.Policy)
			require.NoError(t, err)
			location, err := time.LoadLocation(a.Timezone)
			require.NoError(t, err)
			for _, purchase := range a.Purchases {
				facts := policy.Facts{
					AgentStatus:        "active",
					Amount:             purchase.Amount,
					Category:           purchase.Category,
					Now:                purchase.Now,
					Location:           location,
					Budget:             a.Budget,
					Spent:              purchase.Spent,
					Held:               purchase.Held,
					Today:              purchase.Today,
					ThisWeek:           purchase.ThisWeek,
					ThisMonth:          purchase.ThisMonth,
					RequestsThisMinute: purchase.Minute,
					RequestsThisHour:   purchase.Hour,
				}
				for i, r := range a.Rules {
					facts.Rules = append(facts.Rules, policy.BudgetRule{
						Name:       r.Name,
						Type:       r.Type,
						Limit:      r.Limit,
						Priority:   r.Priority,
						Inactive:   r.IsActive != nil && !*r.IsActive,
						DaysOfWeek: r.Days,
						Start:      r.Start,
						End:        r.End,
						Counted:    purchase.Counted[i],
					})
				}
				decision := policy.Evaluate(p, facts)
				var checks []string
				for _, check := range decision.Checks {
					checks = append(checks, string(check.Result)+" "+check.Rule)
				}
				assert.Equal(t, purchase.Checks, checks, "%+v", purchase)
				assert.Equal(t, purchase.Status, status(decision), "%+v", purchase)
				replayed++
			}
		})
	}
	assert.Greater(t, replayed, 300, "recorded purchases")
}

func status(d policy.Decision) string {
	switch {
	case !d.Passed:
		return "rejected"
	case d.AutoApprove:
		return "auto_approved"
	default:
		return "pending"
	}
}

// scenario is what a recorded one has of interest here.
type scenario struct {
	Name    string    `json:"name"`
	Start   time.Time `json:"start"`
	Account struct {
		Timezone string `json:"timezone"`
		Rules    []rule `json:"budget_rules"`
	} `json:"account"`
	Agent struct {
		Budget    money.Amount    `json:"budget"`
		Policy    json.RawMessage `json:"policy"`
		Replenish *struct{}       `json:"auto_replenish"`
		Status    string          `json:"status"`
	} `json:"agent"`
	Steps []step `json:"steps"`
}

type step struct {
	Op      string                     `json:"op"`
	Method  string                     `json:"method"`
	Path    string                     `json:"path"`
	Headers map[string]any             `json:"headers"`
	As      string                     `json:"as"`
	Ref     string                     `json:"ref"`
	Seconds float64                    `json:"seconds"`
	Target  string                     `json:"target"`
	Values  map[string]json.RawMessage `json:"values"`
	Body    struct {
		Amount money.Amount `json:"amount"`
	} `json:"body"`
	Expect struct {
		Status int `json:"status"`
		Body   struct {
			ID       string `json:"request_id"`
			Status   string `json:"status"`
			Category string `json:"category"`
			Check    struct {
				Checks []policy.Check `json:"checks"`
			} `json:"policy_check"`
		} `json:"body"`
	} `json:"expect"`
}

// extractDecisions writes decisionsFile from the recordings, but for those that only repeat one purchase many times.
func extractDecisions(t *testing.T) {
	files, err := filepath.Glob(recordings)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out bytes.Buffer
	for _, name := range files {
		if base := filepath.Base(name); base == "ratelimit.jsonl.gz" || base == "list.jsonl.gz" {
			continue
		}
		file, err := os.Open(name)
		require.NoError(t, err)
		unzipped, err := gzip.NewReader(file)
		require.NoError(t, err)
		lines := bufio.NewScanner(unzipped)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var s scenario
			if json.Unmarshal(lines.Bytes(), &s) != nil {
				continue // a step is not of this form, as when it probes what is no amount
			}
			for _, a := range s.accounts(t) {
				require.NoError(t, json.NewEncoder(&out).Encode(a))
			}
		}
		require.NoError(t, lines.Err())
		require.NoError(t, file.Close())
	}
	require.NoError(t, os.WriteFile(decisionsFile, out.Bytes(), 0o644))
}

// books are the sums and counts that the facts of a purchase are taken from.
type books struct {
	spent, held money.Amount
	booked      money.Amount            // all that was ever accepted, which is what a rule's own counter keeps
	counters    map[string]money.Amount // by period
	accepted    map[string]int          // by minute or hour
	pending     map[string]hold         // by request
}

type hold struct {
	amount money.Amount
	day    string
}

// periods names the minute, the hour, the day, the week and the month of an instant.
func periods(now time.Time, location *time.Location) (minute, hour, day, week, month string) {
	local := now.In(location)
	year, number := local.ISOWeek()
	return now.UTC().Format("2006-01-02 15:04"), now.UTC().Format("2006-01-02 15"),
		local.Format(time.DateOnly), fmt.Sprintf("%d-W%d", year, number), local.Format("2006-01")
}

// accounts returns the purchases of a scenario, anew from each change of the policy or the budget on. It ends before
// the first step after which sums do not tell the facts: an expiry, a refund, a decision on a later day.
func (s *scenario) accounts(t *testing.T) (accounts []account) {
	if s.Agent.Replenish != nil || s.Agent.Status != "active" {
		return nil
	}
	location, err := time.LoadLocation(s.Account.Timezone)
	require.NoError(t, err)
	now := s.Start
	b := books{counters: map[string]money.Amount{}, accepted: map[string]int{}, pending: map[string]hold{}}
	a := account{
		Name:     s.Name,
		Timezone: s.Account.Timezone,
		Budget:   s.Agent.Budget,
		Policy:   s.Agent.Policy,
		Rules:    s.Account.Rules,
	}
	flush := func() {
		if len(a.Purchases) > 0 {
			accounts = append(accounts, a)
		}
		a.Purchases = nil
	}
	defer flush()
	for _, step := range s.Steps {
		minute, hour, day, week, month := periods(now, location)
		switch {
		case step.Op == "advance":
			now = now.Add(time.Duration(step.Seconds * float64(time.Second)))
		case step.Op == "http" && step.Method == "GET" && !strings.Contains(step.Path, "$"),
			step.Op == "expire" && b.held.IsZero():
			// changes nothing
		case step.Op == "set" && step.Target == "agent":
			flush()
			for field, value := range step.Values {
				switch field {
				case "policy":
					a.Policy = value
				case "budget":
					require.NoError(t, json.Unmarshal(value, &a.Budget))
				default:
					return accounts
				}
			}
		case step.Op == "approve" || step.Op == "reject":
			held, ok := b.pending[step.Ref]
			if !ok || held.day != day || step.Expect.Status != 200 {
				return accounts
			}
			delete(b.pending, step.Ref)
			b.held = b.held.Sub(held.amount)
			if step.Op == "approve" {
				b.spent = b.spent.Add(held.amount)
				continue
			}
			for _, period := range []string{day, week, month} {
				b.counters[period] = b.counters[period].Sub(held.amount)
			}
		case step.Op == "http" && step.Path == "/agent-api/requests" && step.Method == "POST" &&
			step.As == "" && step.Headers == nil:
			if step.Expect.Status != 201 {
				continue
			}
			p := purchase{
				Now:       now,
				Amount:    step.Body.Amount,
				Category:  step.Expect.Body.Category,
				Spent:     b.spent,
				Held:      b.held,
				Today:     b.counters[day],
				ThisWeek:  b.counters[week],
				ThisMonth: b.counters[month],
				Minute:    b.accepted[minute],
				Hour:      b.accepted[hour],
				Status:    step.Expect.Body.Status,
			}
			for _, r := range a.Rules {
				counted := map[policy.RuleType]money.Amount{
					policy.Daily:   p.Today,
					policy.Weekly:  p.ThisWeek,
					policy.Monthly: p.ThisMonth,
					policy.Total:   b.spent.Add(b.held),
				}[r.Type]
				if r.Type == policy.Total && !r.Start.IsZero() && !r.End.IsZero() {
					counted = b.booked
				}
				p.Counted = append(p.Counted, counted)
			}
			for _, check := range step.Expect.Body.Check.Checks {
				p.Checks = append(p.Checks, string(check.Result)+" "+check.Rule)
			}
			a.Purchases = append(a.Purchases, p)
			stored, counted := p.Amount.Round(), p.Amount.RoundHalfEven()
			switch p.Status {
			case "auto_approved":
				b.spent = b.spent.Add(stored)
			case "pending":
				b.held = b.held.Add(stored)
				b.pending[step.Expect.Body.ID] = hold{stored, day}
			default:
				continue
			}
			b.booked = b.booked.Add(counted)
			for _, period := range []string{day, week, month} {
				b.counters[period] = b.counters[period].Add(counted)
			}
			b.accepted[minute]++
			b.accepted[hour]++
		default:
			return accounts
		}
	}
	return accounts
}
