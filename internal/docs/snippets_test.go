package docs

import (
	"fmt"
	"go/build"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.." // the folder of the repository

// Every Go snippet of every Markdown file and of llms.txt compiles: it stands line for line, indentation aside, in a
// test or in a program of the repository, or it is a program of its own, and then go vet compiles it here.
func TestSnippetsOfTheDocumentationCompile(t *testing.T) {
	var pages []string
	var sources []source
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name == ".git":
			return fs.SkipDir
		case filepath.Ext(path) == ".md", name == "llms.txt":
			pages = append(pages, path)
		case filepath.Ext(path) == ".go" && isCompiled(t, path):
			sources = append(sources, readSource(t, path))
		}
		return nil
	}))
	found := 0
	for _, page := range pages {
		for _, snippet := range snippetsOf(t, page) {
			found++
			t.Run(fmt.Sprintf("%s:%d", strings.TrimPrefix(page, root+"/"), snippet.line), func(t *testing.T) {
				for _, source := range sources {
					if source.holds(snippet.code) {
						return
					}
				}
				require.Regexp(t, `(?m)^package main$`, snippet.code,
					"neither a program nor part of a test or a program of the repository")
				vetProgram(t, snippet.code)
			})
		}
	}
	require.NotZero(t, found)
}

// snippet is a block of Go code in a page.
type snippet struct {
	line int    // of its first line of code
	code string // without the blank lines around it
}

// snippetsOf returns the blocks of a page that are fenced as Go.
func snippetsOf(t *testing.T, page string) (snippets []snippet) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	const fence = "```"
	language, start := "", 0 // of the open block; start 0 means outside of blocks
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		info, fenced := strings.CutPrefix(strings.TrimSpace(line), fence)
		switch {
		case !fenced:
		case start == 0:
			language, _, _ = strings.Cut(strings.TrimSpace(info)+" ", " ")
			start = i + 1
		default:
			if language == "go" || language == "golang" {
				code := strings.Trim(strings.Join(lines[start:i], "\n"), "\n")
				require.NotEmpty(t, strings.TrimSpace(code), "%s:%d: an empty snippet", page, start)
				snippets = append(snippets, snippet{line: start + 1, code: code})
			}
			start = 0
		}
	}
	require.Zero(t, start, "%s:%d: a block without an end", page, start)
	return snippets
}

// isCompiled reports whether a Go file is a test, or part of a program, that is compiled on this platform.
func isCompiled(t *testing.T, path string) bool {
	t.Helper()
	for folder := range strings.SplitSeq(strings.TrimPrefix(filepath.ToSlash(path), root+"/"), "/") {
		if folder == "testdata" || strings.IndexAny(folder, "._") == 0 {
			return false
		}
	}
	matches, err := build.Default.MatchFile(filepath.Dir(path), filepath.Base(path))
	require.NoError(t, err)
	if !matches || strings.HasSuffix(path, "_test.go") {
		return matches
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
	require.NoError(t, err)
	return file.Name.Name == "main"
}

// source is a Go file that is compiled.
type source struct {
	text  string       // its lines without indentation, each between two line ends
	inert map[int]bool // the lines, from 0 on, that begin inside a comment or a string
}

func readSource(t *testing.T, path string) source {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	s := source{text: unindented(string(text)), inert: make(map[int]bool)}
	file := token.NewFileSet().AddFile(path, -1, len(text))
	var tokens scanner.Scanner
	tokens.Init(file, text, nil, scanner.ScanComments)
	for position, kind, literal := tokens.Scan(); kind != token.EOF; position, kind, literal = tokens.Scan() {
		if kind == token.COMMENT || kind == token.STRING {
			for i := range strings.Count(literal, "\n") {
				s.inert[file.Line(position)+i] = true
			}
		}
	}
	return s
}

// holds reports whether the file has the lines of code, not counting those that it only quotes.
func (s source) holds(code string) bool {
	code = unindented(code)
	for from := 0; ; {
		at := strings.Index(s.text[from:], code)
		if at < 0 {
			return false
		}
		from += at
		if !s.inert[strings.Count(s.text[:from], "\n")] {
			return true
		}
		from++
	}
}

// unindented returns the lines of a text without indentation, each between two line ends.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}

// vetProgram compiles and vets a program that may import any module of the workspace.
func vetProgram(t *testing.T, code string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(name, []byte(code), 0o600))
	workspace, err := filepath.Abs(filepath.Join(root, "go.work"))
	require.NoError(t, err)
	vet := exec.CommandContext(t.Context(), "go", "vet", name)
	vet.Env = append(os.Environ(), "GOWORK="+workspace)
	output, err := vet.CombinedOutput()
	assert.NoError(t, err, "%s", output)
}
