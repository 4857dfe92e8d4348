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

// Every snippet of the README must stand, line for line, in a file that is compiled and run.
func TestReadmeSnippetsAreCompiled(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var compiled strings.Builder
	for _, name := range []string{"example_test.go", "readme_test.go"} {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		compiled.WriteString(unindented(string(source)))
	}
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, snippets, 5)
	for _, snippet := range snippets {
		assert.Contains(t, compiled.String(), unindented(snippet[1]))
	}
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
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
