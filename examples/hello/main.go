// Command hello is the program at the top of the README: one guarded call that is approved, and one that is refused.
//
//	go run ./examples/hello
//
// It uses the embedded server, and needs no account.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

type order struct {
	item  string
	price letagentpay.Amount
}

func main() {
	// The embedded server needs no account. With an account: client, err := letagentpay.New()
	server, err := letagentpaytest.Start(
		letagentpaytest.WithPolicyJSON(`{"per_request_limit": 200, "auto_approve": {"enabled": true}}`),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := server.Client()

	describe := func(o order) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: o.price, Category: "groceries", Description: o.item}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, o order) (string, error) {
		return "receipt for " + o.item, nil // runs only when approved: pay here, by your own means
	})

	ctx := context.Background()
	receipt, err := buy(ctx, order{"apples", letagentpay.MustAmount("49.99")})
	fmt.Printf("%s, error: %v\n", receipt, err)

	_, err = buy(ctx, order{"a truffle", letagentpay.MustAmount("250")})
	fmt.Println("refused:", err)

	budget, err := client.Budget(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("spent:", budget.Spent, budget.Currency)
}
