// Command quickstart plays the life of an agent that asks before it spends.
//
//	go run ./examples/quickstart
//
// With LETAGENTPAY_TOKEN set it talks to the service: it really requests purchases there, and confirms what is
// approved, against your agent's budget. Your policy decides how each step ends.
//
// Without a token it starts the embedded server, and no account is needed. The exit code is 0 only if every step ends
// as announced.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		stop()
		os.Exit(1)
	}
}

// embeddedPolicy is what the owner of the embedded server's agent allows.
const embeddedPolicy = `{
	"per_request_limit": 200,
	"auto_approve": {"enabled": true, "max_amount": 50}
}`

func run(ctx context.Context, out io.Writer) error {
	s := &story{out: out}
	if os.Getenv("LETAGENTPAY_TOKEN") != "" {
		client, err := letagentpay.New()
		if err != nil {
			return err
		}
		s.client = client
		s.say("Talking to %s. Your policy decides; nothing below is staged.", client.BaseURL())
	} else {
		server, err := letagentpaytest.Start(
			letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
			letagentpaytest.WithPolicyJSON(embeddedPolicy),
		)
		if err != nil {
			return err
		}
		defer server.Close()
		server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict {
			return letagentpaytest.Approve().After(time.Second)
		})
		s.client, s.staged = server.Client(), true
		s.say("An embedded server is running: 500.00 USD to spend, at most 200.00 at a time,")
		s.say("up to 50.00 without asking a human. (Set LETAGENTPAY_TOKEN to talk to the service.)")
	}
	for _, step := range []func(context.Context) error{s.small, s.reviewed, s.tooMuch, s.guarded, s.guardedTooMuch} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.say("")
	s.say("Done: every purchase was requested, and every payment is accounted for.")
	return nil
}

// story prints each step and, on the embedded server, checks how it ends.
type story struct {
	client *letagentpay.Client
	out    io.Writer
	staged bool
	steps  int
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *story) step(title string) {
	s.steps++
	s.say("\n%d. %s", s.steps, title)
}

// expect fails the story when a step on the embedded server did not end as announced. The service may decide otherwise.
func (s *story) expect(ok bool, what string) error {
	if s.staged && !ok {
		return fmt.Errorf("step %d did not end as announced: want %s", s.steps, what)
	}
	return nil
}

// budget prints the balance and checks what was spent.
func (s *story) budget(ctx context.Context, spent string) error {
	b, err := s.client.Budget(ctx)
	if err != nil {
		return err
	}
	s.say("   Budget: %v spent, %v held, %v of %v %s left.", b.Spent, b.Held, b.Remaining, b.Budget, b.Currency)
	return s.expect(b.Spent == letagentpay.MustAmount(spent) && b.Held.IsZero(), spent+" spent and nothing held")
}

// small: the policy approves at once, and the purchase turns out cheaper.
func (s *story) small(ctx context.Context) error {
	s.step("Groceries for 49.99: small enough to be approved at once.")
	purchase, err := s.client.Purchase(ctx, letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount("49.99"),
		Category:     "groceries",
		MerchantName: "Whole Foods",
		Description:  "Weekly groceries",
	})
	if err != nil {
		return err
	}
	s.say("   Request %s is %s.", purchase.RequestID, purchase.Status)
	if err := s.expect(purchase.Status == letagentpay.StatusAutoApproved, "it auto-approved"); err != nil {
		return err
	}
	if purchase.Status.Approved() {
		confirmation, err := s.client.Confirm(ctx, purchase.RequestID, letagentpay.ConfirmParams{
			Success:      true,
			ActualAmount: letagentpay.MustAmount("47.50"),
		})
		if err != nil {
			return err
		}
		s.say("   Paid %v and confirmed: %s.", confirmation.ActualAmount, confirmation.Status)
	}
	return s.budget(ctx, "47.50")
}

// reviewed: the policy leaves it to a human, and the agent waits for the decision.
func (s *story) reviewed(ctx context.Context) error {
	s.step("Headphones for 120.00: a human has to look at it.")
	purchase, err := s.client.Purchase(ctx, letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount("120"),
		Category:     "electronics",
		MerchantName: "Sound & Co",
		AgentComment: "The old pair broke.",
	})
	if err != nil {
		return err
	}
	s.say("   Request %s is %s.", purchase.RequestID, purchase.Status)
	if err := s.expect(purchase.Status == letagentpay.StatusPending, "it pending"); err != nil {
		return err
	}
	status := purchase.Status
	if status == letagentpay.StatusPending {
		begun := time.Now()
		decided, err := s.client.WaitForDecision(ctx, purchase.RequestID,
			letagentpay.WaitTimeout(5*time.Minute), letagentpay.WaitInterval(250*time.Millisecond, 5*time.Second))
		if err != nil {
			return err
		}
		status = decided.Status
		s.say("   Waited %.1f s for the human: %s.", time.Since(begun).Seconds(), status)
	}
	if err := s.expect(status == letagentpay.StatusApproved, "the human's approval"); err != nil {
		return err
	}
	if status.Approved() {
		confirmation, err := s.client.Confirm(ctx, purchase.RequestID, letagentpay.ConfirmParams{Success: true})
		if err != nil {
			return err
		}
		s.say("   Paid as requested and confirmed: %s.", confirmation.Status)
	}
	return s.budget(ctx, "167.50")
}

// tooMuch: the policy rejects and says why.
func (s *story) tooMuch(ctx context.Context) error {
	s.step("A flight for 900.00: more than the policy allows.")
	purchase, err := s.client.Purchase(ctx, letagentpay.PurchaseParams{
		Amount:   letagentpay.MustAmount("900"),
		Category: "flights",
	})
	if err != nil {
		return err
	}
	s.say("   Request %s is %s.", purchase.RequestID, purchase.Status)
	var rules []string
	for _, check := range purchase.PolicyCheck.Failed() {
		rules = append(rules, check.Rule)
		s.say("   Rule %s: %s.", check.Rule, strings.TrimSuffix(check.Detail, "."))
	}
	rejected := purchase.Status == letagentpay.StatusRejected && strings.Join(rules, " ") == "per_request_limit budget"
	if err := s.expect(rejected, "a rejection by per_request_limit and budget"); err != nil {
		return err
	}
	return s.budget(ctx, "167.50")
}

// order is what the guarded function buys.
type order struct {
	item  string
	price letagentpay.Amount
}

func (o order) describe() letagentpay.PurchaseParams {
	return letagentpay.PurchaseParams{Amount: o.price, Category: "groceries", Description: o.item}
}

// guarded: a function runs because its purchase is approved, and reports what it paid.
func (s *story) guarded(ctx context.Context) error {
	s.step("A guarded function buys apples for 30.00.")
	buy := letagentpay.Guard(s.client, order.describe, func(ctx context.Context, o order) (string, error) {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		s.say("   The function runs, under approval %s.", approval.RequestID())
		err := approval.Spent(letagentpay.MustAmount("28.40"), "https://shop.example/receipts/1")
		return "receipt for " + o.item, err
	})
	receipt, err := buy(ctx, order{"apples", letagentpay.MustAmount("30")})
	switch {
	case err == nil:
		s.say("   It returned a %s and is confirmed for 28.40.", receipt)
	case s.staged || !errors.Is(err, letagentpay.ErrNotApproved):
		return err
	default:
		s.say("   Not approved: %v.", err)
	}
	return s.budget(ctx, "195.90")
}

// guardedTooMuch: a function does not run, because its purchase is refused.
func (s *story) guardedTooMuch(ctx context.Context) error {
	s.step("A guarded function wants a truffle for 250.00.")
	ran := false
	buy := letagentpay.Guard(s.client, order.describe, func(context.Context, order) (string, error) {
		ran = true
		return "", errors.New("this money was never to be spent")
	})
	_, err := buy(ctx, order{"truffle", letagentpay.MustAmount("250")})
	refused, ok := errors.AsType[*letagentpay.NotApprovedError](err)
	ok = ok && refused.Status == letagentpay.StatusRejected
	switch {
	case ok:
		var rules []string
		for _, check := range refused.Checks {
			rules = append(rules, check.Rule)
		}
		s.say("   Refused by %s; the function did not run.", cmp.Or(strings.Join(rules, " and "), "the owner"))
	case s.staged || !ran && !errors.Is(err, letagentpay.ErrNotApproved):
		return err
	}
	if err := s.expect(ok && !ran, "a refusal, and no run"); err != nil {
		return err
	}
	return s.budget(ctx, "195.90")
}
