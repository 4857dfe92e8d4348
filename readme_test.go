package letagentpay_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// A snippet of the README.
func TestAgentPaysWhatItOwes(t *testing.T) {
	server := letagentpaytest.NewServer(t, letagentpaytest.InMemory())
	server.OnPending(func(r letagentpaytest.Request) letagentpaytest.Verdict {
		return letagentpaytest.Approve()
	})
	agent := NewAgent(server.Client())
	if err := agent.BuyGroceries(t.Context()); err != nil {
		t.Fatal(err)
	}
	if spent := server.Budget().Spent; spent != letagentpay.MustAmount("47.50") {
		t.Errorf("spent %v", spent)
	}
}

// docs/promises.md names the tests that hold each promise.
func TestPromisesNameTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("docs/promises.md")
	require.NoError(t, err)
	declared := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`).FindAllSubmatch(source, -1) {
			declared[string(match[1])] = true
		}
		return err
	}))
	named := regexp.MustCompile(`Test[A-Z][A-Za-z0-9_]+`).FindAllString(string(page), -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		assert.True(t, declared[name], name)
	}
}
