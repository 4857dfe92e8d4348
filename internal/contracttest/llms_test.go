package contracttest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/internal/docs"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// Two snippets of llms.txt.

//revive:disable:line-length-limit the lines are those of llms.txt
func TestAgentAsksBeforeItBuys(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory(),
		letagentpaytest.WithBudget(letagentpay.MustAmount("500")),
		letagentpaytest.WithPolicyJSON(`{"per_request_limit": 200, "auto_approve": {"enabled": true, "max_amount": 50}}`))
	client := server.Client() // hand this to the code under test

	small, err := client.Purchase(t.Context(), letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("50"), Category: "groceries"})
	if err != nil || small.Status != letagentpay.StatusAutoApproved {
		t.Fatal(small, err)
	}
	large, err := client.Purchase(t.Context(), letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("120"), Category: "electronics"})
	if err != nil || large.Status != letagentpay.StatusPending {
		t.Fatal(large, err)
	}
	if err := server.Approve(large.RequestID); err != nil { // or Reject, or server.Advance(31*time.Minute)
		t.Fatal(err)
	}
	if spent := server.Budget().Spent; spent != letagentpay.MustAmount("170") {
		t.Error(spent)
	}
}

//revive:enable:line-length-limit

func TestGuardOfTheSnippet(t *testing.T) {
	server := letagentpaytest.NewServer(t,
		letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`),
	)
	client, ctx := server.Client(), t.Context()

	type order struct {
		item  string
		price letagentpay.Amount
	}
	describe := func(o order) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: o.price, Category: "groceries", Description: o.item}
	}
	buy := letagentpay.Guard(client, describe, func(ctx context.Context, o order) (string, error) {
		// Runs only when approved. Pay here, then tell what it really cost:
		approval, _ := letagentpay.ApprovalFromContext(ctx)
		return "receipt 17", approval.Spent(letagentpay.MustAmount("47.50"), "https://shop.example/receipts/17")
	})
	receipt, err := buy(ctx, order{"apples", letagentpay.MustAmount("49.99")})

	require.NoError(t, err)
	assert.Equal(t, "receipt 17", receipt)
	assert.Equal(t, letagentpay.MustAmount("47.50"), server.Budget().Spent)
}

func TestLLMsPageIsTrue(t *testing.T) {
	page := string(docs.LLMs)
	assert.Less(t, len(page), 12_000, "short")

	// The table of calls is that of the contract: no call is missing and none made up, and every field is named.
	contract := loadContract(t)
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]+)` \\|.*$").FindAllStringSubmatch(page, -1) {
		rows[row[1]] = row[0]
	}
	n := 0
	for path, item := range contract.document.Paths.Map() {
		for method, operation := range item.Operations() {
			n++
			row, ok := rows[method+" "+path]
			assert.True(t, ok, "%s %s is not in the table", method, path)
			if operation.RequestBody != nil {
				for field := range operation.RequestBody.Value.Content["application/json"].Schema.Value.Properties {
					if field != "actual_amount" || operation.OperationID != "reportX402" { // which is of no use there
						assert.Contains(t, row, field, operation.OperationID)
					}
				}
			}
			for _, p := range operation.Parameters {
				assert.Contains(t, row, p.Value.Name, operation.OperationID)
			}
			for status, response := range operation.Responses.Map() {
				if status[0] != '2' {
					assert.Contains(t, page, "\n| "+status+" ", "an error of %s", operation.OperationID)
					continue
				}
				assert.Contains(t, row, "| "+status)
				if operation.OperationID == "registerX402Wallet" {
					continue // "the wallet"
				}
				for field := range response.Value.Content["application/json"].Schema.Value.Properties {
					assert.Contains(t, row, field, operation.OperationID)
				}
			}
		}
	}
	assert.Len(t, rows, n)
	for _, status := range contract.document.Components.Schemas["Status"].Value.Enum {
		assert.Contains(t, page, status)
	}
	reasons := contract.document.Components.Schemas["X402Authorization"].Value.Properties["reason"].Value.Description
	for _, reason := range regexp.MustCompile(`[A-Z]+(_[A-Z]+)+`).FindAllString(reasons, -1) {
		assert.Contains(t, page, reason)
	}
	rules := contract.document.Components.Schemas["Check"].Value.Properties["rule"].Value.Description
	for _, rule := range regexp.MustCompile(`[a-z]+(_[a-z]+)+`).FindAllString(rules, -1) {
		assert.Contains(t, page, rule)
	}

	// The names it uses exist.
	declared := exported(t, "../..")
	named := regexp.MustCompile(`\b(Err[A-Z]\w+|[A-Z]\w+Error|On[A-Z]\w+\(|With[A-Z]\w+\()`)
	for _, name := range named.FindAllString(page, -1) {
		assert.True(t, declared[strings.TrimSuffix(name, "(")], "%s is not declared", name)
	}
}

// exported returns the names that the packages of the module's root and of letagentpaytest export.
func exported(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, folder := range []string{root, root + "/letagentpaytest"} {
		files, err := fs.Glob(os.DirFS(folder), "*.go")
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), folder+"/"+name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			ast.Inspect(file, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.FuncDecl:
					names[node.Name.Name] = true
					return false
				case *ast.TypeSpec:
					names[node.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range node.Names {
						names[name.Name] = true
					}
				}
				return true
			})
		}
	}
	return names
}
