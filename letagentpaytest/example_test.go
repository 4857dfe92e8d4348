package letagentpaytest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/money"
	"github.com/letagentpay/letagentpay-go/operation"
)

// The examples start a server with Start; a test uses NewServer(t), which needs no error handling and no Close.
func start(options ...letagentpaytest.Option) *letagentpaytest.Server {
	srv, err := letagentpaytest.Start(append(options, letagentpaytest.InMemory())...)
	if err != nil {
		log.Fatal(err)
	}
	return srv
}

var ticket = letagentpay.PurchaseParams{Amount: money.Must("120"), Category: "flights", MerchantName: "TAP"}

// A test decides a pending purchase.
func ExampleServer_Approve() {
	srv := start()
	defer srv.Close()
	ctx, client := context.Background(), srv.Client()

	bought, err := client.Purchase(ctx, ticket)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bought.Status, srv.Budget().Held)

	if err := srv.Approve(bought.RequestID); err != nil {
		log.Fatal(err)
	}
	r, err := client.Request(ctx, bought.RequestID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Status, srv.Budget().Spent)
	// Output:
	// pending 120.00
	// approved 120.00
}

// A scripted human decides all of them: here, nothing above 100, and after two minutes' thought.
func ExampleServer_OnPending() {
	srv := start()
	defer srv.Close()
	srv.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
		if money.Must("100").Less(r.Amount) {
			return letagentpaytest.Reject().After(2 * time.Minute)
		}
		return letagentpaytest.Approve().After(2 * time.Minute)
	})

	bought, err := srv.Client().Purchase(context.Background(), ticket)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bought.Status)
	srv.Advance(2 * time.Minute)
	r, _ := srv.Request(bought.RequestID)
	fmt.Println(r.Status)
	// Output:
	// pending
	// rejected
}

// Nobody decides, and half an hour later the purchase has expired.
func ExampleServer_Advance() {
	srv := start()
	defer srv.Close()
	ctx, client := context.Background(), srv.Client()

	bought, err := client.Purchase(ctx, ticket)
	if err != nil {
		log.Fatal(err)
	}
	srv.Advance(31 * time.Minute)
	r, err := client.WaitForDecision(ctx, bought.RequestID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Status, srv.Budget().Held)
	// Output:
	// expired 0.00
}

// The budget does not cover the second purchase.
func ExampleWithBudget() {
	srv := start(
		letagentpaytest.WithBudget(money.Must("200")),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	defer srv.Close()

	for range 2 {
		bought, err := srv.Client().Purchase(context.Background(), ticket)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(bought.Status)
		for _, check := range bought.PolicyCheck.Failed() {
			fmt.Print(" by ", check.Rule)
		}
		fmt.Println()
	}
	// Output:
	// auto_approved
	// rejected by budget
}

// The service is down.
func ExampleServer_Fail() {
	srv := start(letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	defer srv.Close()

	srv.Fail(letagentpaytest.Fault{Op: operation.Purchase, Times: -1, Status: 503})
	_, err := srv.Client(letagentpay.WithMaxRetries(0)).Purchase(context.Background(), ticket)
	fmt.Println(errors.Is(err, letagentpay.ErrServer), len(srv.Requests()))
	srv.ClearFaults()
	// Output:
	// true 0
}

// The connection breaks after the purchase was made. The client asks again under the same key, and buys once.
func ExampleFault_duplicate() {
	srv := start(letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	defer srv.Close()

	srv.Fail(letagentpaytest.Fault{Op: operation.Purchase, Drop: letagentpaytest.DropAfter})
	bought, err := srv.Client().Purchase(context.Background(), ticket)
	if err != nil {
		log.Fatal(err)
	}
	calls := srv.Calls().Of(operation.Purchase)
	fmt.Println(bought.Status, "after", len(calls), "calls, and", len(srv.Requests()), "purchase")
	// Output:
	// auto_approved after 2 calls, and 1 purchase
}

// Two agents of one account share the owner's daily limit.
func ExampleWithAgent() {
	auto := letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`)
	srv := start(auto,
		letagentpaytest.WithBudgetRules(letagentpaytest.BudgetRule{
			Name:  "family",
			Type:  "daily",
			Limit: money.Must("200"),
		}),
		letagentpaytest.WithAgent("second", auto))
	defer srv.Close()

	for _, client := range []*letagentpay.Client{srv.Client(), srv.Agent("second").Client()} {
		bought, err := client.Purchase(context.Background(), ticket)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(bought.Status)
	}
	// Output:
	// auto_approved
	// rejected
}
