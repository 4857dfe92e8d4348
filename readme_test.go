package letagentpay_test

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	agent := NewAgent(server.Client()) // your code
	if err := agent.BuyGroceries(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.CheckSpent(t, letagentpay.MustAmount("47.50"))
}

// section returns the part of a page below one of its headings.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, part, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	require.True(t, ok, "%s has no heading %q", page, heading)
	part, _, _ = strings.Cut(part, "\n## ")
	return part
}

// docs/design.md maps the files of two packages.
func TestDesignMapsEachFile(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+\\.go)` \\| \\S")
	for heading, folder := range map[string]string{
		"Files of the root package":  ".",
		"Files of `letagentpaytest`": "letagentpaytest",
	} {
		mapped := make(map[string]bool)
		for _, match := range row.FindAllStringSubmatch(section(t, "docs/design.md", heading), -1) {
			mapped[match[1]] = true
		}
		files, err := filepath.Glob(folder + "/*.go")
		require.NoError(t, err)
		for _, path := range files {
			name := filepath.Base(path)
			if !strings.HasSuffix(name, "_test.go") {
				assert.True(t, mapped[name], "docs/design.md, %s, has no %s", heading, name)
				delete(mapped, name)
			}
		}
		for name := range mapped {
			assert.Fail(t, "docs/design.md, "+heading+", has "+name+", which does not exist")
		}
	}
}

// docs/design.md lists what each package of the root module imports, from the leaves upwards.
func TestDesignListsTheImports(t *testing.T) {
	const module = "github.com/letagentpay/letagentpay-go"
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9./]+)` \\| ([^|]+) \\|")
	listed := make(map[string]bool)
	for _, match := range row.FindAllStringSubmatch(section(t, "docs/design.md", "Packages"), -1) {
		folder, imports := match[1], []string{}
		for _, quoted := range strings.Split(match[2], ", ") {
			if quoted != "–" {
				imports = append(imports, strings.Trim(quoted, "`"))
			}
		}
		for _, name := range imports {
			assert.True(t, listed[name], "%s imports %s, which is not above it", folder, name)
		}
		listed[folder] = true
		found, err := build.Default.ImportDir(folder, 0)
		require.NoError(t, err)
		actual := []string{}
		for _, path := range found.Imports {
			if path == module {
				actual = append(actual, ".")
			} else if name, ok := strings.CutPrefix(path, module+"/"); ok {
				actual = append(actual, name)
			}
		}
		slices.Sort(imports)
		slices.Sort(actual)
		assert.Equal(t, actual, imports, "docs/design.md, imports of %s", folder)
	}
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.IsDir():
			return err
		case path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(path)):
			return fs.SkipDir
		}
		found, err := build.Default.ImportDir(path, 0)
		if err == nil && found.Name != "main" {
			assert.True(t, listed[filepath.ToSlash(path)], "docs/design.md does not list package %s", path)
		}
		return nil
	}))
}

// isModule reports whether a folder has a go.mod.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// docs/promises.md names the tests that hold each promise, and docs/adding.md those that notice a forgotten step.
func TestPagesNameTestsThatExist(t *testing.T) {
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
	for _, page := range []string{"docs/promises.md", "docs/adding.md", "docs/design.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		named := regexp.MustCompile(`Test[A-Z][A-Za-z0-9_]+`).FindAllString(string(text), -1)
		if page == "docs/promises.md" || page == "docs/adding.md" {
			require.NotEmpty(t, named)
		}
		for _, name := range named {
			assert.True(t, declared[name], "%s: %s", page, name)
		}
	}
}
