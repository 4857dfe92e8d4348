// Command mutate measures how well the tests detect defects. Each mutant in its list is the source with one defect.
// The command runs the tests against one mutant at a time, and prints the first test that fails, or that none does:
//
//	go run ./tools/mutate                    # the whole list
//	go run ./tools/mutate -run '^confirm/'   # the mutants of one file
//	go run ./tools/mutate -list              # their names, and why each is a defect
//	go run ./tools/mutate -build             # only compile each of them
//
// The mutants reach the compiler through the -overlay flag of the go command, so the source files do not change.
// Before the first mutant, each test runs on its own against the original source: a test that fails there proves
// nothing and is an error. Each mutant then runs against only the tests that call its function, the fast ones first.
// A test that exceeds the time limit counts as failed. The exit status is 0 when every mutant was killed.
//
// A survivor is a defect that no test detects. Either a test is missing, or the mutant is not a defect and does not
// belong in the list.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

var errNotAllKilled = errors.New("not every mutant was killed")

func run() error {
	var (
		names    = flag.String("run", "", "only the mutants whose name matches this `regexp`")
		list     = flag.Bool("list", false, "print the mutants, with the reason why each is a defect, and end")
		onlyMake = flag.Bool("build", false, "only compile the mutants, one by one")
		only     = flag.String("tests", "", "only the tests whose name matches this `regexp`")
		skip     = flag.String("skip", "", "leave out the tests whose name matches this `regexp`")
		t        tester
	)
	flag.IntVar(&t.jobs, "j", 1, "how many mutants to test at a time")
	flag.DurationVar(&t.timeout, "timeout", time.Minute, "time limit of the tests that run together")
	flag.IntVar(&t.checks, "rapid.checks", 60, "programs that the model tests play")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	named, err := regexp.Compile(*names)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if t.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-tests: %w", err)
	}
	if t.skip, err = regexp.Compile(*skip); err != nil {
		return fmt.Errorf("-skip: %w", err)
	}
	if t.root, err = repository(); err != nil {
		return err
	}
	chosen, err := choose(t.root, named)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range chosen {
			fmt.Printf("%-58s %s\n", m.name, m.why)
		}
		fmt.Printf("%d mutants\n", len(chosen))
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if t.dir, err = os.MkdirTemp("", "mutate-"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	if *onlyMake {
		return measure(ctx, chosen, t.jobs, t.build)
	}
	if err := t.prepare(ctx, chosen); err != nil {
		return err
	}
	return measure(ctx, chosen, t.jobs, t.test)
}

// choose returns the mutants whose name matches. It checks the whole list, and reports every mutant that is invalid.
func choose(root string, named *regexp.Regexp) ([]*mutant, error) {
	var chosen []*mutant
	var problems []error
	seen := make(map[string]bool)
	for i := range mutants {
		m := &mutants[i]
		if seen[m.name] {
			problems = append(problems, fmt.Errorf("mutant %s: the list has another one of this name", m.name))
		}
		seen[m.name] = true
		if _, err := m.source(root); err != nil {
			problems = append(problems, err)
		}
		if named.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		problems = append(problems, errors.New("no mutant has such a name"))
	}
	return chosen, errors.Join(problems...)
}

// repository returns the root of the repository that contains the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.work here or above: run it inside the repository")
		}
		dir = parent
	}
}

// measure tests up to jobs mutants at a time, and prints their verdicts in the order of the list, then the score.
func measure(ctx context.Context, chosen []*mutant, jobs int, test func(context.Context, *mutant) verdict) error {
	begun := time.Now()
	verdicts := make([]chan verdict, len(chosen))
	for i := range verdicts {
		verdicts[i] = make(chan verdict, 1)
	}
	go inParallel(jobs, len(chosen), func(i int) { verdicts[i] <- test(ctx, chosen[i]) })
	score := make(map[outcome]int)
	var left []string
	for i, m := range chosen {
		v := <-verdicts[i]
		fmt.Printf("%-58s %-9s %5.1fs  %s\n", m.name, v.outcome, v.took.Seconds(), v.by)
		score[v.outcome]++
		if v.outcome == survived || v.outcome == broken {
			left = append(left, fmt.Sprintf("%s %s: %s", v.outcome, m.name, m.why))
		}
	}
	if len(left) > 0 {
		fmt.Println("\n" + strings.Join(left, "\n"))
	}
	if tested := score[killed] + score[survived]; tested > 0 {
		fmt.Printf("\n%d of %d mutants killed (%.1f %%), in %s\n",
			score[killed], tested, 100*float64(score[killed])/float64(tested), time.Since(begun).Round(time.Second))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(left) > 0 {
		return errNotAllKilled
	}
	return nil
}

// inParallel calls do with each number below n, in ascending order, up to jobs at a time.
func inParallel(jobs, n int, do func(i int)) {
	var workers sync.WaitGroup
	next := make(chan int)
	for range max(jobs, 1) {
		workers.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}
