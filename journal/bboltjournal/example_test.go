package bboltjournal_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// An agent that handles a message twice, before and after a restart, buys once.
func Example() {
	server, err := letagentpaytest.Start(letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	folder, err := os.MkdirTemp("", "agent")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	type ticket struct{ City string }
	runAgent := func() error {
		journal, err := bboltjournal.Open(filepath.Join(folder, "purchases.journal"))
		if err != nil {
			return err
		}
		defer journal.Close()
		client := server.Client() // outside of tests: letagentpay.New()

		interrupted, err := client.Recover(context.Background(), journal)
		if err != nil {
			return err
		}
		for _, purchase := range interrupted {
			fmt.Println("cut off:", purchase.Entry.Description, "may have been bought:", purchase.MayHaveRun)
		}

		book := letagentpay.Guard(client, func(t ticket) letagentpay.PurchaseParams {
			return letagentpay.PurchaseParams{
				Amount:      letagentpay.MustAmount("180"),
				Category:    "transport",
				Description: "ticket to " + t.City,
			}
		}, func(_ context.Context, t ticket) (string, error) {
			fmt.Println("paying for", t.City)
			return "seat 12A to " + t.City, nil
		}, letagentpay.WithJournal(journal))

		seat, err := book(letagentpay.WithPurchaseScope(context.Background(), "message 4711"), ticket{"Lisbon"})
		fmt.Println(seat)
		return err
	}
	for range 2 {
		if err := runAgent(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// paying for Lisbon
	// seat 12A to Lisbon
	// seat 12A to Lisbon
}
