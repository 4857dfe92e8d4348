package letagentpaytest

import (
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go/internal/docs"
	"github.com/letagentpay/letagentpay-go/operation"
)

// contractLine matches a path, a method or an operationId below paths.
var contractLine = regexp.MustCompile(`(?m)^(?:  (/\S*)|    ([a-z]+)|      operationId): ?(\w*)$`)

// documented returns the operations of openapi.yaml: the name of their handler by method and path.
func documented(t *testing.T) map[string]string {
	_, paths, ok := strings.Cut(string(docs.OpenAPI), "\npaths:\n")
	require.True(t, ok)
	if end := regexp.MustCompile(`(?m)^\S`).FindStringIndex(paths); end != nil {
		paths = paths[:end[0]]
	}
	ids := map[string]string{}
	var path, route string
	for _, line := range contractLine.FindAllStringSubmatch(paths, -1) {
		switch {
		case line[1] != "":
			path = line[1]
		case line[2] != "":
			route = strings.ToUpper(line[2]) + " " + path
			ids[route] = ""
		default:
			ids[route] = strings.ToUpper(line[3][:1]) + line[3][1:]
		}
	}
	return ids
}

func TestOperationsAreThoseOfTheContract(t *testing.T) {
	handled, names := map[string]string{}, map[operation.Op]bool{}
	for _, e := range endpoints {
		route := e.method + " " + e.path
		assert.NotContains(t, handled, route, "is listed twice")
		assert.False(t, names[e.op], "%s is listed twice", e.op)
		assert.NotEmpty(t, e.op)
		function := runtime.FuncForPC(reflect.ValueOf(e.handle).Pointer()).Name()
		handled[route] = function[strings.LastIndex(function, ".")+1:]
		names[e.op] = true
	}
	assert.Equal(t, documented(t), handled)
	assert.NotEmpty(t, handled)
}
