package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The tests are compiled once, with all mutants in them. Each mutated function is added next to the original, which
// calls it when that mutant is active:
//
//	func (c *Client) confirm(id string) error {
//		if isMutant(7) {
//			return c.confirm_mutant7(id)
//		}
//
// Mutants outside functions, and those in functions that call recover directly, are compiled one at a time.

// instrumented holds the source of the files with all mutants that can be switched on.
type instrumented struct {
	files map[string][]byte // by path, relative to the root of the repository
	alone []*mutant         // the mutants that cannot be switched on
}

// instrument returns the files with their mutants. The number of a mutant is its index in the list.
func instrument(root string, list []*mutant) (*instrumented, error) {
	byFile := make(map[string][]int)
	for i, m := range list {
		byFile[m.file] = append(byFile[m.file], i)
	}
	result := &instrumented{files: make(map[string][]byte)}
	packages := make(map[string]string) // package name by folder
	var problems []error
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return nil, err
		}
		f, err := newSwitchedFile(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, n := range byFile[file] {
			if err := f.add(n, list[n]); errors.Is(err, errAlone) {
				result.alone = append(result.alone, list[n])
			} else if err != nil {
				problems = append(problems, fmt.Errorf("mutant %s: %w", list[n].name, err))
			}
		}
		result.files[file] = f.bytes()
		packages[path.Dir(file)] = f.parsed.Name.Name
	}
	for folder, name := range packages {
		result.files[path.Join(folder, "zz_mutants.go")] = fmt.Appendf(nil, switchSource, name, len(list))
	}
	return result, errors.Join(problems...)
}

// switchSource is the source that reports to a function whether its mutant is active, and records which mutants the
// tests reach.
const switchSource = `package %s

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var (
	activeMutant   = readActiveMutant()
	reachedFile    = os.Getenv("MUTATE_REACHED")
	reachedMutants [%d]atomic.Bool
)

func readActiveMutant() int {
	n, err := strconv.Atoi(os.Getenv("MUTATE_ACTIVE"))
	if err != nil {
		return -1
	}
	return n
}

func isMutant(n int) bool {
	if reachedFile != "" && !reachedMutants[n].Swap(true) {
		if f, err := os.OpenFile(reachedFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, n)
			f.Close()
		}
	}
	return n == activeMutant
}
`

// switchedFile is one source file with its mutants.
type switchedFile struct {
	text     string
	parsed   *ast.File
	inserted map[int]string // by offset
	replaced map[int]int    // by offset: the length of the text that the insertion replaces
	added    strings.Builder
}

func newSwitchedFile(text string) (*switchedFile, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	return &switchedFile{text: text, parsed: parsed, inserted: make(map[int]string), replaced: make(map[int]int)}, nil
}

// parse parses a file. Its positions are offsets plus one.
func parse(text string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
}

// errAlone is returned for a mutant that must be compiled separately.
var errAlone = errors.New("it cannot be switched on")

// add adds the mutated function and the call to it.
func (f *switchedFile) add(n int, m *mutant) error {
	start, err := m.find(f.text)
	if err != nil {
		return err
	}
	function := functionAt(f.parsed, start, start+len(m.old))
	if function == nil || recovers(function) {
		return errAlone
	}
	text := f.text[:start] + m.new + f.text[start+len(m.old):]
	parsed, err := parse(text)
	if err != nil {
		return err
	}
	mutated := parsed.Decls[slices.Index(f.parsed.Decls, ast.Decl(function))].(*ast.FuncDecl)
	afterName := offset(mutated.Name.End())
	fmt.Fprintf(&f.added, "\n%s_mutant%d%s\n", text[offset(mutated.Pos()):afterName], n,
		text[afterName:offset(mutated.End())])
	call := f.call(function, fmt.Sprintf("_mutant%d", n))
	if function.Type.Results == nil {
		call += "; return"
	} else {
		call = "return " + call
	}
	f.inserted[offset(function.Body.Lbrace)+1] += fmt.Sprintf(" if isMutant(%d) { %s };", n, call)
	return nil
}

func offset(p token.Pos) int { return int(p) - 1 }

// functionAt returns the function that contains a part of the file, or nil.
func functionAt(file *ast.File, start, end int) *ast.FuncDecl {
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Body != nil && offset(f.Pos()) <= start &&
			end <= offset(f.End()) {
			return f
		}
	}
	return nil
}

// recovers reports whether a function calls recover directly. Such a call has an effect only in the deferred function
// itself, so it must not move to a function that the deferred one calls.
func recovers(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f.Body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			name, ok := call.Fun.(*ast.Ident)
			found = found || ok && name.Name == "recover"
		}
		_, literal := node.(*ast.FuncLit)
		return !literal
	})
	return found
}

// call returns a call of another function with the arguments of this one. It names the parameters that have no name.
func (f *switchedFile) call(function *ast.FuncDecl, suffix string) string {
	name := function.Name.Name + suffix
	if function.Recv != nil {
		name = f.names(function.Recv, "mutantReceiver")[0] + "." + name
	}
	if types := function.Type.TypeParams; types != nil {
		name += "[" + strings.Join(f.names(types, ""), ", ") + "]"
	}
	arguments := f.names(function.Type.Params, "mutantArgument")
	if last := function.Type.Params.List; len(last) > 0 {
		if _, variadic := last[len(last)-1].Type.(*ast.Ellipsis); variadic {
			arguments[len(arguments)-1] += "..."
		}
	}
	return name + "(" + strings.Join(arguments, ", ") + ")"
}

// names returns the names of parameters. It names those that have none.
func (f *switchedFile) names(list *ast.FieldList, unnamed string) []string {
	var names []string
	for _, field := range list.List {
		if len(field.Names) == 0 {
			name := fmt.Sprint(unnamed, len(names))
			f.inserted[offset(field.Pos())] = name + " "
			names = append(names, name)
		}
		for _, identifier := range field.Names {
			name := identifier.Name
			if name == "_" {
				name = fmt.Sprint(unnamed, len(names))
				f.inserted[offset(identifier.Pos())], f.replaced[offset(identifier.Pos())] = name, len("_")
			}
			names = append(names, name)
		}
	}
	return names
}

func (f *switchedFile) bytes() []byte {
	var b bytes.Buffer
	at := 0
	for _, position := range slices.Sorted(maps.Keys(f.inserted)) {
		b.WriteString(f.text[at:position] + f.inserted[position])
		at = position + f.replaced[position]
	}
	b.WriteString(f.text[at:] + f.added.String())
	return b.Bytes()
}
