package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// outcome is the result of testing a mutant.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	broken   outcome = "BROKEN"   // it does not compile, or the tests could not be run
	compiles outcome = "compiles" // the result that -build checks
)

// verdict is an outcome with its reason: the first test that failed, or the problem.
type verdict struct {
	outcome outcome
	by      string
	took    time.Duration
}

// tester runs tests against mutants.
type tester struct {
	root    string
	dir     string // for the compiled tests
	timeout time.Duration
	checks  int            // number of programs that the model tests run
	only    *regexp.Regexp // tests to run
	skip    *regexp.Regexp // tests to skip
	jobs    int

	number   map[*mutant]int
	alone    map[*mutant]bool
	programs map[string]string // the compiled tests, by package
	tests    map[string][]test // by package, the fastest first
}

// test is one test of a package.
type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool // mutants whose function the test calls
}

// prepare compiles the tests with all mutants in them. It then runs each test on its own without a mutant, to check
// that the test passes, to measure its time, and to find the mutants that it reaches.
func (t *tester) prepare(ctx context.Context, list []*mutant) error {
	t.number, t.alone = make(map[*mutant]int), make(map[*mutant]bool)
	t.programs, t.tests = make(map[string]string), make(map[string][]test)
	for i, m := range list {
		t.number[m] = i
	}
	all, err := instrument(t.root, list)
	if err != nil {
		return err
	}
	for _, m := range all.alone {
		t.alone[m] = true
	}
	overlay, err := t.overlay(t.dir, all.files)
	if err != nil {
		return err
	}
	var packages []string
	for _, m := range list {
		packages = append(packages, m.packages()...)
	}
	slices.Sort(packages)
	for _, pkg := range slices.Compact(packages) {
		if t.programs[pkg], err = t.compile(ctx, pkg, overlay, t.dir); err != nil {
			return fmt.Errorf("%s: with -build the mutants are compiled one by one; together:\n%w", pkg, err)
		}
		if err := t.baseline(ctx, pkg); err != nil {
			return err
		}
	}
	return nil
}

// overlay writes files to dir, and returns the file for the -overlay flag of the go command.
func (t *tester) overlay(dir string, files map[string][]byte) (string, error) {
	replaced := make(map[string]string)
	for file, text := range files {
		written := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(written, text, 0o600); err != nil {
			return "", err
		}
		replaced[filepath.Join(t.root, filepath.FromSlash(file))] = written
	}
	data, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o600)
}

// compile compiles the tests of a package.
func (t *tester) compile(ctx context.Context, pkg, overlay, dir string) (program string, err error) {
	program = filepath.Join(dir, filepath.Base(filepath.Join(t.root, pkg))+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-overlay="+overlay, "-o", program,
		pkg)
	cmd.Dir = t.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s%w", output, err)
	}
	return program, nil
}

// baseline runs the tests of a package one at a time, without a mutant.
func (t *tester) baseline(ctx context.Context, pkg string) error {
	begun := time.Now()
	listing, err := exec.CommandContext(ctx, t.programs[pkg], "-test.list=.").Output()
	if err != nil {
		return fmt.Errorf("%s: %w", pkg, err)
	}
	var names []string
	for _, name := range strings.Fields(string(listing)) {
		if !strings.HasPrefix(name, "Benchmark") && t.only.MatchString(name) &&
			(t.skip.String() == "" || !t.skip.MatchString(name)) {
			names = append(names, name)
		}
	}
	tests, errs := make([]test, len(names)), make([]error, len(names))
	inParallel(t.jobs, len(names), func(i int) { tests[i], errs[i] = t.measure(ctx, pkg, names[i]) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.SortStableFunc(tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	t.tests[pkg] = tests
	fmt.Printf("without a mutant, the %d tests of %s pass, one by one, in %s\n", len(tests), pkg,
		time.Since(begun).Round(time.Second))
	return nil
}

// measure runs one test without a mutant.
func (t *tester) measure(ctx context.Context, pkg, name string) (test, error) {
	begun, reached := time.Now(), filepath.Join(t.dir, filepath.Base(pkg)+"-"+name)
	result, err := t.run(ctx, pkg, t.programs[pkg], []string{name}, "MUTATE_REACHED="+reached)
	measured := test{name: name, took: time.Since(begun), reaches: make(map[int]bool)}
	switch {
	case err != nil:
		return test{}, err
	case result != "":
		return test{}, fmt.Errorf("%s fails without a mutant: %s", pkg, result)
	}
	numbers, err := os.ReadFile(reached)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return test{}, err
	}
	for _, field := range strings.Fields(string(numbers)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return test{}, err
		}
		measured.reaches[n] = true
	}
	return measured, nil
}

// test runs the tests that reach a mutant until one fails.
func (t *tester) test(ctx context.Context, m *mutant) verdict {
	begun := time.Now()
	outcome, by, err := t.judge(ctx, m)
	if err != nil {
		outcome, by = broken, complaint(err.Error())
	}
	return verdict{outcome, by, time.Since(begun)}
}

func (t *tester) judge(ctx context.Context, m *mutant) (outcome, string, error) {
	if t.alone[m] {
		return t.judgeAlone(ctx, m)
	}
	reached := false
	for _, pkg := range m.packages() {
		for names := range batches(t.tests[pkg], func(c test) bool { return c.reaches[t.number[m]] }) {
			reached = true
			failed, err := t.run(ctx, pkg, t.programs[pkg], names, fmt.Sprintf("MUTATE_ACTIVE=%d", t.number[m]))
			if failed != "" || err != nil {
				return killed, failed, err
			}
		}
	}
	if !reached {
		return survived, "no test calls the function", nil
	}
	return survived, "", nil
}

// judgeAlone is judge for a mutant that is compiled separately.
func (t *tester) judgeAlone(ctx context.Context, m *mutant) (outcome, string, error) {
	dir, overlay, err := t.overlayOf(m)
	if err != nil {
		return broken, "", err
	}
	defer os.RemoveAll(dir)
	for _, pkg := range m.packages() {
		program, err := t.compile(ctx, pkg, overlay, dir)
		if err != nil {
			return broken, "", err
		}
		for names := range batches(t.tests[pkg], func(test) bool { return true }) {
			failed, err := t.run(ctx, pkg, program, names)
			if failed != "" || err != nil {
				return killed, failed, err
			}
		}
	}
	return survived, "", nil
}

// batches yields the names of tests: the fast ones together, before the slow ones.
func batches(tests []test, chosen func(test) bool) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		limit := 200 * time.Millisecond
		var batch []string
		for _, c := range tests {
			if !chosen(c) {
				continue
			}
			for c.took > limit {
				if len(batch) > 0 && !yield(batch) {
					return
				}
				batch, limit = nil, 3*limit
			}
			batch = append(batch, c.name)
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// build only compiles a mutant.
func (t *tester) build(ctx context.Context, m *mutant) verdict {
	begun := time.Now()
	dir, overlay, err := t.overlayOf(m)
	if err != nil {
		return verdict{broken, err.Error(), time.Since(begun)}
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay="+overlay, m.packages()[0])
	cmd.Dir = t.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return verdict{broken, complaint(string(output) + err.Error()), time.Since(begun)}
	}
	return verdict{compiles, "", time.Since(begun)}
}

// overlayOf writes the overlay of one mutant to a folder of its own.
func (t *tester) overlayOf(m *mutant) (dir, overlay string, err error) {
	source, err := m.source(t.root)
	if err != nil {
		return "", "", err
	}
	if dir, err = os.MkdirTemp(t.dir, "alone-"); err != nil {
		return "", "", err
	}
	overlay, err = t.overlay(dir, map[string][]byte{m.file: source})
	return dir, overlay, err
}

// run runs tests until one fails, and returns its name, or "" if all pass. The seed of the model tests is fixed, so
// that a second run has the same verdicts.
func (t *tester) run(ctx context.Context, pkg, program string, names []string, environment ...string) (failed string,
	err error,
) {
	// The tests stop at their own time limit and report which one was running. A process that does not stop is killed.
	limited, cancel := context.WithTimeout(ctx, t.timeout+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(limited, program, "-test.v", "-test.failfast", "-test.timeout="+t.timeout.String(),
		"-test.run=^("+strings.Join(names, "|")+")$")
	if pkg == rootPackage {
		cmd.Args = append(cmd.Args, "-rapid.checks="+strconv.Itoa(t.checks), "-rapid.seed=1", "-rapid.nofailfile",
			"-rapid.shrinktime=1s")
	}
	var output bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(t.root, pkg), append(os.Environ(),
		environment...), &output, &output
	cmd.WaitDelay = 10 * time.Second // for processes that the tests started
	if err = cmd.Run(); err == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok && limited.Err() == nil {
		return "", err
	}
	return firstFailure(output.String()), nil
}

// firstFailure returns the name of the first test that failed, given the output of tests.
func firstFailure(output string) string {
	running, failed := "", ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "=== RUN "); ok {
			running = strings.TrimSpace(name)
		}
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			if failed == "" || strings.HasPrefix(name, failed+"/") {
				failed = name
			}
		}
	}
	switch {
	case strings.Contains(output, "panic: test timed out after"):
		return running + " (time limit)"
	case failed == "": // a crash, or a failed check after all tests
		return "after " + running
	}
	return failed
}

// complaint returns the line of a compiler's output that describes the error.
func complaint(output string) string {
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "it failed without a word"
}
