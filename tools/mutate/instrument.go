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

// The tests are compiled once, with all mutants in them. Each function with a defect stands beside the function as it
// is, which calls it when that mutant is the active one:
//
//	func (c *Client) confirm(id string) error {
//		if isMutant(7) {
//			return c.confirm_mutant7(id)
//		}
//
// Mutants outside of functions, and in those that call recover for themselves, are compiled one by one.

// instrumented is the text of files with all mutants that can be switched on.
type instrumented struct {
	files map[string][]byte // by their path from the root of the repository
	alone []*mutant         // those that cannot
}

// instrument makes the files of the mutants. The number of a mutant is its place in the list.
func instrument(root string, list []*mutant) (*instrumented, error) {
	byFile := make(map[string][]int)
	for i, m := range list {
		byFile[m.file] = append(byFile[m.file], i)
	}
	result := &instrumented{files: make(map[string][]byte)}
	packages := make(map[string]string) // folder: name
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

// switchSource tells functions whether a mutant is the active one, and notes which ones could be.
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

// switchedFile is one file with its mutants.
type switchedFile struct {
	text     string
	parsed   *ast.File
	inserted map[int]string // by offset
	replaced map[int]int    // offsets where what is inserted takes the place of something, with its length
	added    strings.Builder
}

func newSwitchedFile(text string) (*switchedFile, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	return &switchedFile{text: text, parsed: parsed, inserted: make(map[int]string), replaced: make(map[int]int)}, nil
}

// parse parses a file; the positions are offsets plus one.
func parse(text string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
}

// errAlone is the error of a mutant that is to be compiled by itself.
var errAlone = errors.New("it cannot be switched on")

// add adds the function with a defect, and what calls it.
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

// functionAt returns the function that holds a part of the file.
func functionAt(file *ast.File, start, end int) *ast.FuncDecl {
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Body != nil && offset(f.Pos()) <= start &&
			end <= offset(f.End()) {
			return f
		}
	}
	return nil
}

// recovers reports whether a function calls recover, which works in what is deferred alone.
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

// call returns a call of another function with the arguments that this one was given. Parameters without a name get
// one.
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

// names returns the names of parameters.
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
