package letagentpay_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// embedded starts a server for an example: up to 50.00 is approved at once, at most 200.00 is allowed, and a human
// approves the rest.
func embedded() *letagentpaytest.Server {
	server, err := letagentpaytest.Start(letagentpaytest.InMemory(), letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
		letagentpaytest.WithPolicyJSON(`{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": 50}}`))
	if err != nil {
		log.Fatal(err)
	}
	server.OnPending(func(letagentpaytest.Request) letagentpaytest.Verdict { return letagentpaytest.Approve() })
	return server
}

func ExampleNew() {
	client, err := letagentpay.New(
		letagentpay.WithToken("agt_0123456789"), // or LETAGENTPAY_TOKEN
		letagentpay.WithAppInfo("my-agent/1.2"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.BaseURL())

	_, err = letagentpay.New(letagentpay.WithToken("agt_0123456789"), letagentpay.WithBaseURL("http://pay.example"))
	var param *letagentpay.ParamError
	if errors.As(err, &param) {
		fmt.Println(param.Field, "was refused")
	}
	// Output:
	// https://letagentpay.com/api/v1/agent-api
	// WithBaseURL was refused
}

func ExampleGuard() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	type order struct {
		item  string
		price letagentpay.Amount
	}
	describe := func(o order) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: o.price, Category: "groceries", Description: o.item}
	}
	buy := letagentpay.Guard(client, describe, func(ctx context.Context, o order) (string, error) {
		// Pay here, by your own means. Then say what it really cost:
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return "receipt 17", approval.Spent(letagentpay.MustAmount("47.50"), "https://shop.example/receipts/17")
	})

	receipt, err := buy(ctx, order{"weekly groceries", letagentpay.MustAmount("49.99")})
	fmt.Println(receipt, err)

	_, err = buy(ctx, order{"a truffle", letagentpay.MustAmount("250")})
	var rejected *letagentpay.NotApprovedError
	if errors.As(err, &rejected) {
		fmt.Println("not bought:", rejected.Checks[0].Rule)
	}
	fmt.Println("spent:", server.Budget().Spent)
	// Output:
	// receipt 17 <nil>
	// not bought: per_request_limit
	// spent: 47.50
}

func ExampleClient_Purchase() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	purchase, err := client.Purchase(ctx, letagentpay.PurchaseParams{
		Amount:       letagentpay.MustAmount("49.99"),
		Category:     "groceries",
		MerchantName: "Whole Foods",
		Description:  "Weekly groceries",
	})
	if err != nil {
		log.Fatal(err)
	}
	status := purchase.Status
	if status == letagentpay.StatusPending {
		decided, err := client.WaitForDecision(ctx, purchase.RequestID, letagentpay.WaitTimeout(5*time.Minute))
		if err != nil {
			log.Fatal(err)
		}
		status = decided.Status
	}
	if !status.Approved() {
		log.Fatal("not approved: ", purchase.PolicyCheck.Failed())
	}
	// Pay here. Then:
	confirmation, err := client.Confirm(ctx, purchase.RequestID, letagentpay.ConfirmParams{
		Success: true, ActualAmount: letagentpay.MustAmount("47.50"),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status, confirmation.Status, confirmation.ActualAmount)
	// Output: auto_approved completed 47.50
}

func ExampleClient_Purchase_rejected() {
	server := embedded()
	defer server.Close()

	purchase, err := server.Client().Purchase(context.Background(), letagentpay.PurchaseParams{
		Amount: letagentpay.MustAmount("900"), Category: "flights",
	})
	if err != nil {
		log.Fatal(err) // a rejection is an answer, not an error
	}
	fmt.Println(purchase.Status)
	for _, check := range purchase.PolicyCheck.Failed() {
		fmt.Println(check.Rule)
	}
	// Output:
	// rejected
	// per_request_limit
	// budget
}

func ExampleClient_WaitForDecision() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	purchase, err := client.Purchase(ctx, letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("120"), Category: "electronics"})
	if err != nil {
		log.Fatal(err)
	}
	decided, err := client.WaitForDecision(ctx, purchase.RequestID, letagentpay.WaitTimeout(5*time.Minute))
	var timeout *letagentpay.WaitTimeoutError
	switch {
	case errors.As(err, &timeout):
		fmt.Println("nobody looked at it yet")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(purchase.Status, "then", decided.Status)
	}
	// Output: pending then approved
}

func ExampleClient_Authorize() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	order := func() (err error) {
		approval, err := client.Authorize(ctx, letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("30"), Category: "groceries"})
		if err != nil {
			return err // nothing may be bought
		}
		defer func() { err = errors.Join(err, approval.Settle(ctx, err)) }()

		// Pay here, up to approval.Amount().
		return errors.New("the shop is closed")
	}
	fmt.Println(order())
	fmt.Println("spent:", server.Budget().Spent)
	// Output:
	// the shop is closed
	// spent: 0.00
}

func ExampleResumeApproval() {
	server := embedded()
	defer server.Close()
	server.OnPending(nil) // nobody is there yet
	client := server.Client()
	ctx := context.Background()

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("120"), Category: "electronics", Description: item}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, item string) (string, error) {
		return "bought " + item, nil
	}, letagentpay.OnPendingFail())

	_, err := buy(ctx, "headphones")
	var pending *letagentpay.NotApprovedError
	if !errors.As(err, &pending) {
		log.Fatal(err)
	}
	fmt.Println("awaits approval")

	// Hours later, when the owner has approved it:
	if err := server.Approve(pending.RequestID); err != nil {
		log.Fatal(err)
	}
	fmt.Println(buy(letagentpay.ResumeApproval(ctx, pending.RequestID), "headphones"))
	// Output:
	// awaits approval
	// bought headphones <nil>
}

func ExampleWithPurchaseScope() {
	server := embedded()
	defer server.Close()

	type order struct {
		item  string
		price letagentpay.Amount
	}
	describe := func(o order) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: o.price, Category: "groceries", Description: o.item}
	}
	for range 2 { // the turn, and the turn retried, by another process perhaps
		buy := letagentpay.Guard(server.Client(), describe, func(context.Context, order) (string, error) {
			return "receipt 17", nil
		})
		ctx := letagentpay.WithPurchaseScope(context.Background(), "message 17")
		receipt, err := buy(ctx, order{"weekly groceries", letagentpay.MustAmount("49.99")})
		var handled *letagentpay.AlreadyHandledError
		if errors.As(err, &handled) {
			fmt.Println("bought before:", handled.Request.Status)
		} else {
			fmt.Println(receipt, err)
		}
	}
	fmt.Println("spent:", server.Budget().Spent)
	// Output:
	// receipt 17 <nil>
	// bought before: completed
	// spent: 49.99
}

// A turn that buys two identical things on purpose. The turn begins again after an error, and buys nothing twice.
func ExampleWithScopeRun() {
	server := embedded()
	defer server.Close()

	ride := func(string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("12"), Category: "taxi", Description: "a ride"}
	}
	book := letagentpay.Guard(server.Client(), ride, func(_ context.Context, to string) (string, error) { return "booked: " + to, nil })
	scope := letagentpay.WithPurchaseScope(context.Background(), "message 17") // once
	for attempt := range 2 {
		run := letagentpay.WithScopeRun(scope) // once for each attempt
		for _, to := range []string{"there", "and back"} {
			if _, err := book(run, to); attempt == 1 && !errors.As(err, new(*letagentpay.AlreadyHandledError)) {
				fmt.Println("bought again:", err)
			}
		}
	}
	fmt.Println("rides:", len(server.Requests()), "spent:", server.Budget().Spent)
	// Output: rides: 2 spent: 24.00
}

// A payment that timed out may have been made, so its money stays booked. One that timed out before it was sent was not.
func ExampleNotPaid() {
	server := embedded()
	defer server.Close()
	client := server.Client()

	groceries := func(string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("20"), Category: "groceries"}
	}
	buy := letagentpay.Guard(client, groceries, func(_ context.Context, how string) (string, error) {
		if how == "the shop did not answer the order" {
			return "", context.DeadlineExceeded
		}
		return "", letagentpay.NotPaid(context.DeadlineExceeded)
	})
	_, err := buy(context.Background(), "the shop did not answer the order")
	var unconfirmed *letagentpay.UnconfirmedError
	fmt.Println("may have spent:", errors.As(err, &unconfirmed) && unconfirmed.MayHaveSpent, "booked:", server.Budget().Spent)
	_, err = buy(context.Background(), "the catalogue did not answer, nothing was ordered")
	fmt.Println("may have spent:", letagentpay.MayHavePaid(err), "booked:", server.Budget().Spent)

	// The order turns out not to have been made.
	if _, err := client.Confirm(context.Background(), unconfirmed.RequestID, letagentpay.ConfirmParams{Success: false}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("booked:", server.Budget().Spent)
	// Output:
	// may have spent: true booked: 20.00
	// may have spent: false booked: 20.00
	// booked: 0.00
}

func ExampleWithJournal() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()
	journal := new(memoryJournal) // in a program: bboltjournal.Open("agent.journal")

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("30"), Category: "groceries", IdempotencyKey: "order 17: " + item}
	}
	pay := func(_ context.Context, item string) (string, error) {
		fmt.Println("paying for", item)
		return "receipt 17", nil
	}
	interrupted, err := client.Recover(ctx, journal) // once, at start
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to decide about:", len(interrupted))

	buy := letagentpay.Guard(client, describe, pay, letagentpay.WithJournal(journal))
	for range 2 {
		fmt.Println(buy(ctx, "apples"))
	}
	// Output:
	// to decide about: 0
	// paying for apples
	// receipt 17 <nil>
	// receipt 17 <nil>
}

func ExampleClient_Requests() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()
	for _, price := range []string{"10", "20", "300"} {
		if _, err := client.Purchase(ctx, letagentpay.PurchaseParams{Amount: letagentpay.MustAmount(price), Category: "groceries"}); err != nil {
			log.Fatal(err)
		}
	}

	for request, err := range client.Requests(ctx, letagentpay.ListParams{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(request.Amount, request.Status)
	}
	// Output:
	// 300.00 rejected
	// 20.00 auto_approved
	// 10.00 auto_approved
}

func ExampleClient_Budget() {
	server := embedded()
	defer server.Close()
	budget, err := server.Client().Budget(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(budget.Remaining, "of", budget.Budget, budget.Currency)
	// Output: 500.00 of 500.00 USD
}

func ExampleClient_Policy() {
	server := embedded()
	defer server.Close()
	rules, err := server.Client().Policy(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if rules != nil { // nil: no rules are set
		fmt.Println("at most", rules.PerRequestLimit, "each,", rules.AutoApprove.MaxAmount, "without asking")
	}
	// Output: at most 200.00 each, 50.00 without asking
}

// Agent is what TestAgentPaysWhatItOwes tests.
type Agent struct {
	buy func(context.Context, string) (string, error)
}

// NewAgent returns an agent that asks before it buys.
func NewAgent(client *letagentpay.Client) *Agent {
	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("49.99"), Category: "groceries", Description: item}
	}
	return &Agent{buy: letagentpay.Guard(client, describe, func(ctx context.Context, item string) (string, error) {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return "receipt", approval.Spent(letagentpay.MustAmount("47.50"), "")
	})}
}

// BuyGroceries buys the week's groceries.
func (a *Agent) BuyGroceries(ctx context.Context) error {
	_, err := a.buy(ctx, "groceries")
	return err
}
