package letagentpay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/operation"
)

// An endpoint that was added to the contract and to package operation needs a method of the client.
func TestClientCallsEachOperationOfTheService(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	called := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`call\{\s*op:\s+operation\.(\w+)`).FindAllSubmatch(source, -1) {
			called[string(match[1])] = true
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "operation/operation.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	endpoints := 0
	ast.Inspect(file, func(node ast.Node) bool {
		constant, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		op := operation.Op(strings.Trim(constant.Values[0].(*ast.BasicLit).Value, `"`))
		if method, _ := op.Endpoint(); method != "" {
			endpoints++
			assert.True(t, called[constant.Names[0].Name], "no method of the client makes the call %s", op)
		}
		return true
	})
	assert.Equal(t, len(called), endpoints)
}
