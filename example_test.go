package letagentpay_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
	"github.com/letagentpay/letagentpay-go/operation"
)

// embedded starts a server for an example. It approves up to 50.00 at once and rejects more than 200.00. Between these,
// a human approves.
func embedded() *letagentpaytest.Server {
	server, err := letagentpaytest.Start(
		letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
		letagentpaytest.WithPolicyJSON(`{
			"per_request_limit": 200,
			"auto_approve": {"enabled": true, "max_amount": 50}
		}`),
	)
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

	// The token must not travel in plain text.
	_, err = letagentpay.New(letagentpay.WithToken("agt_0123456789"), letagentpay.WithBaseURL("http://pay.example"))
	var param *letagentpay.ParamError
	if errors.As(err, &param) {
		fmt.Println(param.Field, "was refused")
	}
	// Output:
	// https://letagentpay.com/api/v1/agent-api
	// WithBaseURL was refused
}

// Another address: a self-hosted service, or a test server in another process.
func ExampleWithBaseURL() {
	client, err := letagentpay.New(
		letagentpay.WithToken("agt_0123456789"),
		letagentpay.WithBaseURL("http://localhost:8000/api/v1/agent-api"), // or LETAGENTPAY_BASE_URL
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.BaseURL())
	// Output: http://localhost:8000/api/v1/agent-api
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
		// Pay here, by your own means. Then record what it really cost:
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

	purchase, err := client.Purchase(ctx, letagentpay.PurchaseParams{
		Amount:   letagentpay.MustAmount("120"),
		Category: "electronics",
	})
	if err != nil {
		log.Fatal(err)
	}
	decided, err := client.WaitForDecision(ctx, purchase.RequestID, letagentpay.WaitTimeout(5*time.Minute))
	var timeout *letagentpay.WaitTimeoutError
	switch {
	case errors.As(err, &timeout):
		fmt.Println("not decided yet")
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
		approval, err := client.Authorize(ctx, letagentpay.PurchaseParams{
			Amount:   letagentpay.MustAmount("30"),
			Category: "groceries",
		})
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
	server.OnPending(nil) // the owner has not looked at it yet
	client := server.Client()
	ctx := context.Background()

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("120"),
			Category:    "electronics",
			Description: item,
		}
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

// Resume continues a pending purchase where there are options: with Authorize, GuardTransport and GuardHandler.
func ExampleResume() {
	server := embedded()
	defer server.Close()
	server.OnPending(nil) // the owner has not looked at it yet
	client := server.Client()
	ctx := context.Background()

	headphones := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("120"), Category: "electronics"}
	_, err := client.Authorize(ctx, headphones, letagentpay.OnPendingFail())
	var pending *letagentpay.NotApprovedError
	if !errors.As(err, &pending) || pending.Status != letagentpay.StatusPending {
		log.Fatal(err)
	}
	if err := server.Approve(pending.RequestID); err != nil { // the owner
		log.Fatal(err)
	}

	approval, err := client.Authorize(ctx, headphones, letagentpay.Resume(pending.RequestID))
	if err != nil {
		log.Fatal(err)
	}
	// Pay here. Then:
	fmt.Println(approval.RequestID() == pending.RequestID, approval.Settle(ctx, nil))
	// Output: true <nil>
}

// A guarded call that shows its user how long it has been waiting.
func ExampleOnPendingWait() {
	server := embedded()
	defer server.Close()
	server.OnPending(nil) // the owner has not looked at it yet
	client := server.Client()

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("120"),
			Category:    "electronics",
			Description: item,
		}
	}
	reminded := false
	progress := func(event letagentpay.WaitEvent) {
		if reminded || event.Err != nil {
			return // a poll that failed is repeated
		}
		reminded = true
		fmt.Println("waiting for approval:", event.Request.Status)
		if err := server.Approve(event.RequestID); err != nil { // the owner
			log.Fatal(err)
		}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, item string) (string, error) {
		return "bought " + item, nil
	}, letagentpay.OnPendingWait(
		time.Minute,
		letagentpay.WaitInterval(10*time.Millisecond, time.Second),
		letagentpay.WaitProgress(progress),
	))

	fmt.Println(buy(context.Background(), "headphones"))
	// Output:
	// waiting for approval: pending
	// bought headphones <nil>
}

// A web handler does not keep its client waiting for a human. It answers with the id of the pending request, and the
// client sends the order again with that id once it is approved.
func ExampleOnPendingFail() {
	server := embedded()
	defer server.Close()
	server.OnPending(nil) // the owner has not looked at it yet
	client := server.Client()

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("120"),
			Category:    "electronics",
			Description: item,
		}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, item string) (string, error) {
		return "bought " + item, nil
	}, letagentpay.OnPendingFail())

	handler := func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if id := r.FormValue("request_id"); id != "" {
			ctx = letagentpay.ResumeApproval(ctx, id)
		}
		result, err := buy(ctx, r.FormValue("item"))
		var refused *letagentpay.NotApprovedError
		var handled *letagentpay.AlreadyHandledError
		switch {
		case err == nil:
			fmt.Fprint(w, result)
		case errors.As(err, &refused) && refused.Status == letagentpay.StatusPending:
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, refused.RequestID)
		case errors.As(err, &refused):
			http.Error(w, "not approved", http.StatusPaymentRequired)
		case errors.As(err, &handled):
			http.Error(w, "already ordered", http.StatusConflict)
		default:
			http.Error(w, "not ordered", http.StatusServiceUnavailable)
		}
	}

	post := func(query string) (status int, body string) {
		recorder := httptest.NewRecorder()
		handler(recorder, httptest.NewRequest(http.MethodPost, "/orders?"+query, http.NoBody))
		return recorder.Code, recorder.Body.String()
	}
	status, requestID := post("item=headphones")
	fmt.Println(status)
	if err := server.Approve(requestID); err != nil { // the owner
		log.Fatal(err)
	}
	fmt.Println(post("item=headphones&request_id=" + requestID))
	fmt.Println(post("item=headphones&request_id=" + requestID)) // a second click
	// Output:
	// 202
	// 200 bought headphones
	// 409 already ordered
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
	for range 2 { // the turn, and the turn retried, perhaps by another process
		buy := letagentpay.Guard(server.Client(), describe, func(context.Context, order) (string, error) {
			return "receipt 17", nil
		})
		ctx := letagentpay.WithPurchaseScope(context.Background(), "message 17")
		receipt, err := buy(ctx, order{"weekly groceries", letagentpay.MustAmount("49.99")})
		var handled *letagentpay.AlreadyHandledError
		if errors.As(err, &handled) {
			fmt.Println("already bought:", handled.Request.Status)
		} else {
			fmt.Println(receipt, err)
		}
	}
	fmt.Println("spent:", server.Budget().Spent)
	// Output:
	// receipt 17 <nil>
	// already bought: completed
	// spent: 49.99
}

// A turn that buys two identical things on purpose. When the turn runs again, it buys nothing more.
func ExampleWithScopeRun() {
	server := embedded()
	defer server.Close()

	ride := func(string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("12"), Category: "taxi", Description: "a ride"}
	}
	book := letagentpay.Guard(server.Client(), ride, func(_ context.Context, to string) (string, error) {
		return "booked: " + to, nil
	})
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

// A payment that timed out may have been made, so its money stays booked. Before the payment was sent, NotPaid says so.
func ExampleNotPaid() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	describe := func(string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("20"), Category: "groceries"}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, step string) (string, error) {
		if step == "payment" {
			return "", context.DeadlineExceeded
		}
		return "", letagentpay.NotPaid(context.DeadlineExceeded)
	})

	_, err := buy(ctx, "catalogue")
	fmt.Println("may have paid:", letagentpay.MayHavePaid(err), "booked:", server.Budget().Spent)

	_, err = buy(ctx, "payment")
	var unconfirmed *letagentpay.UnconfirmedError
	if !errors.As(err, &unconfirmed) {
		log.Fatal(err)
	}
	fmt.Println("may have paid:", unconfirmed.MayHaveSpent, "booked:", server.Budget().Spent)

	// The shop has no such order, so nothing was paid.
	if _, err := client.Confirm(ctx, unconfirmed.RequestID, letagentpay.ConfirmParams{Success: false}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("booked:", server.Budget().Spent)
	// Output:
	// may have paid: false booked: 0.00
	// may have paid: true booked: 20.00
	// booked: 0.00
}

// What to do when another call has handled a purchase. Resuming is left to a human, because only the shop's books show
// whether an approved purchase was paid.
func ExampleAlreadyHandledError() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:         letagentpay.MustAmount("30"),
			Category:       "groceries",
			IdempotencyKey: "order 18: " + item,
		}
	}
	buy := letagentpay.Guard(client, describe, func(_ context.Context, item string) (string, error) {
		switch item {
		case "pears":
			return "", errors.New("sold out")
		case "plums":
			return "", context.DeadlineExceeded // the shop did not answer
		}
		return "receipt 18", nil
	})
	for _, item := range []string{"apples", "pears", "plums"} {
		_, _ = buy(ctx, item)
		_, err := buy(ctx, item) // the order is delivered again
		var handled *letagentpay.AlreadyHandledError
		if !errors.As(err, &handled) {
			log.Fatal(err)
		}
		switch status := handled.Request.Status; {
		case status == letagentpay.StatusCompleted:
			fmt.Println(item, "were bought")
		case status == letagentpay.StatusFailed:
			fmt.Println(item, "were not bought: order them under another key")
		case status.Approved() && handled.MayHaveRun:
			fmt.Println(item, "may have been bought: look into the shop's books, then confirm")
		default:
			fmt.Println(item, "belong to another process")
		}
	}
	// Output:
	// apples were bought
	// pears were not bought: order them under another key
	// plums may have been bought: look into the shop's books, then confirm
}

func ExampleWithJournal() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()
	store := new(memoryJournal) // in a program: bboltjournal.Open("purchases.journal")

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:         letagentpay.MustAmount("30"),
			Category:       "groceries",
			IdempotencyKey: "order 17: " + item,
		}
	}
	pay := func(_ context.Context, item string) (string, error) {
		fmt.Println("paying for", item)
		return "receipt 17", nil
	}
	interrupted, err := client.Recover(ctx, store) // once, at start
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to decide about:", len(interrupted))

	buy := letagentpay.Guard(client, describe, pay, letagentpay.WithJournal(store))
	for range 2 {
		fmt.Println(buy(ctx, "apples"))
	}
	// Output:
	// to decide about: 0
	// paying for apples
	// receipt 17 <nil>
	// receipt 17 <nil>
}

// gobCodec keeps results in the journal that JSON cannot hold, such as a map whose keys are structs.
type gobCodec struct{}

func (gobCodec) Encode(result any) ([]byte, error) {
	var buffer bytes.Buffer
	err := gob.NewEncoder(&buffer).Encode(result)
	return buffer.Bytes(), err
}

func (gobCodec) Decode(data []byte, result any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(result)
}

func ExampleWithResultCodec() {
	server := embedded()
	defer server.Close()
	ctx := context.Background()

	type seat struct{ Row, Number int }
	describe := func(show string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:         letagentpay.MustAmount("40"),
			Category:       "entertainment",
			IdempotencyKey: "tickets for " + show,
		}
	}
	runs := 0
	book := letagentpay.Guard(server.Client(), describe, func(context.Context, string) (map[seat]string, error) {
		runs++
		return map[seat]string{{7, 12}: "ticket 4711"}, nil
	}, letagentpay.WithJournal(new(memoryJournal)), letagentpay.WithResultCodec(gobCodec{}))

	for range 2 {
		tickets, err := book(ctx, "Hamlet")
		fmt.Println(tickets[seat{7, 12}], err)
	}
	fmt.Println("runs:", runs)
	// Output:
	// ticket 4711 <nil>
	// ticket 4711 <nil>
	// runs: 1
}

// printer prints each operation as it ends.
type printer struct{}

func (printer) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	return ctx, func(o letagentpay.Observation) { fmt.Println(op, o.Amount, o.Status, o.Err) }
}

func ExampleWithObserver() {
	server := embedded()
	defer server.Close()
	client := server.Client(letagentpay.WithObserver(printer{}))

	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("30"),
			Category:    "groceries",
			Description: item,
		}
	}
	buy := letagentpay.Guard(client, describe, func(ctx context.Context, _ string) (string, error) {
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return "receipt 17", approval.Spent(letagentpay.MustAmount("28.40"), "")
	})
	if _, err := buy(context.Background(), "apples"); err != nil {
		log.Fatal(err)
	}
	// Output:
	// purchase 30.00 auto_approved <nil>
	// confirm 28.40 completed <nil>
	// guard 28.40 completed <nil>
}

// A paid API with two prices and one endpoint that is free.
func ExampleGuardTransport_prices() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "answer to "+r.URL.Path)
	}))
	defer api.Close()

	price := func(r *http.Request) (*letagentpay.PurchaseParams, error) {
		switch r.URL.Path {
		case "/health":
			return nil, nil // free: sent without a request for approval
		case "/history":
			return &letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("250"), Category: "other"}, nil
		}
		return &letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("0.05"), Category: "other"}, nil
	}
	paid := &http.Client{Transport: &letagentpay.GuardTransport{Client: client, Price: price}}

	for _, path := range []string{"/health", "/today", "/history"} {
		response, err := paid.Get(api.URL + path)
		if errors.Is(err, letagentpay.ErrNotApproved) {
			fmt.Println(path, "was not sent")
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, response.StatusCode, "spent:", server.Budget().Spent)
		response.Body.Close()
	}
	// Output:
	// /health 200 spent: 0.00
	// /today 200 spent: 0.05
	// /history was not sent
}

func ExampleClient_Requests() {
	server := embedded()
	defer server.Close()
	client := server.Client()
	ctx := context.Background()
	for _, price := range []string{"10", "20", "300"} {
		purchase := letagentpay.PurchaseParams{Amount: letagentpay.MustAmount(price), Category: "groceries"}
		if _, err := client.Purchase(ctx, purchase); err != nil {
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
		fmt.Println("at most", rules.PerRequestLimit, "each, without a human", rules.AutoApprove.MaxAmount)
	}
	// Output: at most 200.00 each, without a human 50.00
}

// Agent is what TestAgentPaysWhatItOwes tests.
type Agent struct {
	buy func(context.Context, string) (string, error)
}

// NewAgent returns an agent that asks before it buys.
func NewAgent(client *letagentpay.Client) *Agent {
	describe := func(item string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{
			Amount:      letagentpay.MustAmount("49.99"),
			Category:    "groceries",
			Description: item,
		}
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
