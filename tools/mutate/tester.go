package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	broken   outcome = "BROKEN"   // it does not compile, or the tests could not be run
	compiles outcome = "compiles" // all that -build wants to know
)

// verdict is an outcome, and what has led to it: the first test that failed, or what is wrong.
type verdict struct {
	outcome outcome
	by      string
	took    time.Duration
}

// tester runs tests against mutants.
type tester struct {
	root    string
	timeout time.Duration
	checks  int    // programs that the model tests play
	skip    string // tests to leave out
}

const (
	rootPackage   = "."
	boltPackage   = "./journal/bboltjournal"
	serverPackage = "./letagentpaytest"
)

// packages returns the packages whose tests are to notice a mutant, the likeliest first.
func (m *mutant) packages() []string {
	if m.inServer() {
		return []string{serverPackage, rootPackage}
	}
	return []string{rootPackage, boltPackage, serverPackage}
}

// baseline runs the tests against the source as it is: all that the mutants need must pass.
func (t *tester) baseline(ctx context.Context, chosen []*mutant) error {
	var packages []string
	for _, m := range chosen {
		packages = append(packages, m.packages()...)
	}
	slices.Sort(packages)
	for _, pkg := range slices.Compact(packages) {
		begun := time.Now()
		result, err := t.run(ctx, pkg, "", false)
		if err != nil {
			return err
		}
		if result.compileError != "" || len(result.failed) > 0 {
			return fmt.Errorf("%s fails without a mutant: %s%s", pkg, result.compileError, strings.Join(result.failed, ", "))
		}
		fmt.Printf("without a mutant, %s passes in %s\n", pkg, time.Since(begun).Round(100*time.Millisecond))
	}
	return nil
}

// test runs the tests against a mutant until one fails.
func (t *tester) test(ctx context.Context, m *mutant) (v verdict) {
	return t.withOverlay(m, func(overlay string) (outcome, string) {
		for _, pkg := range m.packages() {
			result, err := t.run(ctx, pkg, overlay, true)
			switch {
			case err != nil:
				return broken, err.Error()
			case result.compileError != "":
				return broken, result.compileError
			case len(result.failed) > 0:
				return killed, result.failed[0]
			}
		}
		return survived, ""
	})
}

// build only compiles a mutant.
func (t *tester) build(ctx context.Context, m *mutant) verdict {
	return t.withOverlay(m, func(overlay string) (outcome, string) {
		cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, m.packages()[0])
		cmd.Dir = t.root
		if output, err := cmd.CombinedOutput(); err != nil {
			return broken, complaint(string(output) + err.Error())
		}
		return compiles, ""
	})
}

func (t *tester) withOverlay(m *mutant, do func(overlay string) (outcome, string)) (v verdict) {
	begun := time.Now()
	defer func() { v.took = time.Since(begun) }()
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return verdict{outcome: broken, by: err.Error()}
	}
	defer os.RemoveAll(dir)
	overlay, err := m.overlay(t.root, dir)
	if err != nil {
		return verdict{outcome: broken, by: err.Error()}
	}
	v.outcome, v.by = do(overlay)
	return v
}

// result is what go test says about one package.
type result struct {
	failed       []string // tests, in the order in which they failed
	compileError string
}

// run runs the tests of a package. The seed of the model tests is fixed, so that a second run has the same verdicts.
func (t *tester) run(ctx context.Context, pkg, overlay string, failFast bool) (*result, error) {
	// The tests end themselves at their time limit, and say which of them was running. What does not is killed.
	ctx, cancel := context.WithTimeout(ctx, 2*t.timeout+time.Minute)
	defer cancel()
	args := []string{"test", "-json", "-count=1", "-vet=off", "-ldflags=-w", "-timeout=" + t.timeout.String(), "-skip=" + t.skip}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	if failFast {
		args = append(args, "-failfast")
	}
	args = append(args, pkg)
	if pkg == rootPackage {
		args = append(args, "-rapid.checks="+strconv.Itoa(t.checks), "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=1s")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.root
	cmd.WaitDelay = 10 * time.Second // what go test has started ends by itself, but has its output open until then
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	result := read(bytes.NewReader(output))
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: stopped: %w", pkg, context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		return nil, fmt.Errorf("%s: %w", pkg, err)
	}
	if err != nil && result.compileError == "" && len(result.failed) == 0 {
		return nil, fmt.Errorf("%s: no test has failed, and yet: %s", pkg, complaint(complaints.String()+err.Error()))
	}
	return result, nil
}

// read reads the output of go test -json.
func read(output io.Reader) *result {
	var r result
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 64<<20)
	build, running, printed := "", "", ""
	for lines.Scan() {
		var event struct{ Action, Package, Test, Output, FailedBuild string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		switch event.Action {
		case "build-output":
			build += event.Output
		case "output":
			printed += event.Output
			if len(printed) > 1<<20 {
				printed = printed[len(printed)/2:]
			}
		case "run":
			running = event.Test
		case "fail":
			switch {
			case event.FailedBuild != "":
				r.compileError = complaint(build)
			case event.Test != "":
				r.failed = append(r.failed, event.Test)
			case len(r.failed) == 0: // the whole package, without a test: it has crashed, or TestMain complains
				r.failed = append(r.failed, strings.TrimSpace("after the tests "+running))
			}
		}
	}
	if len(r.failed) > 0 && strings.Contains(printed, "panic: test timed out after") {
		r.failed[0] += " (time limit)"
	}
	return &r
}

// complaint returns the line of a compiler's output that says what is wrong.
func complaint(output string) string {
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "it failed without a word"
}
