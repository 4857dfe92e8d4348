package main

import (
	"go/format"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		mutant
		want    int
		wantErr string
	}{
		"the only one":              {mutant{old: "b", new: "x"}, 1, ""},
		"the second":                {mutant{old: "a", new: "x", nth: 2}, 2, ""},
		"removed":                   {mutant{old: "b", new: ""}, 1, ""},
		"not there":                 {mutant{old: "c", new: "x"}, 0, `there is no "c"`},
		"not said which":            {mutant{old: "a", new: "x"}, 0, `"a" occurs 2 times; say with nth which is meant`},
		"more often than it occurs": {mutant{old: "a", new: "x", nth: 3}, 0, `"a" occurs 2 times, not 3`},
		"unchanged":                 {mutant{old: "b", new: "b"}, 0, "nothing is replaced"},
	} {
		got, err := c.find("aba")
		if got != c.want || err == nil != (c.wantErr == "") || err != nil && err.Error() != c.wantErr {
			t.Errorf("%s: got %d, %v; want %d, %q", name, got, err, c.want, c.wantErr)
		}
	}
}

func TestMutantsStandBesideTheirFunctions(t *testing.T) {
	f, err := newSwitchedFile(`package p

const limit = 1

func (T) sum(_ string, more ...int) int {
	return 2
}

func each[A, B any](a A, b B) {
	use(a, b, 3)
}

func guard() {
	recover()
}
`)
	if err != nil {
		t.Fatal(err)
	}
	for n, m := range []mutant{{old: "2", new: "4"}, {old: "return", new: "return 5 +"}, {old: "3", new: "6"}} {
		if err := f.add(n, &m); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []mutant{{old: "1", new: "7"}, {old: "recover", new: "_ = recover"}} {
		if err := f.add(9, &m); err != errAlone {
			t.Errorf("%q: got %v", m.old, err)
		}
	}
	got, err := format.Source(f.bytes())
	if err != nil {
		t.Fatal(err)
	}
	const want = `package p

const limit = 1

func (mutantReceiver0 T) sum(mutantArgument0 string, more ...int) int {
	if isMutant(0) {
		return mutantReceiver0.sum_mutant0(mutantArgument0, more...)
	}
	if isMutant(1) {
		return mutantReceiver0.sum_mutant1(mutantArgument0, more...)
	}
	return 2
}

func each[A, B any](a A, b B) {
	if isMutant(2) {
		each_mutant2[A, B](a, b)
		return
	}
	use(a, b, 3)
}

func guard() {
	recover()
}

func (T) sum_mutant0(_ string, more ...int) int {
	return 4
}

func (T) sum_mutant1(_ string, more ...int) int {
	return 5 + 2
}

func each_mutant2[A, B any](a A, b B) {
	use(a, b, 6)
}
`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}

func TestFirstFailure(t *testing.T) {
	for name, c := range map[string]struct{ output, want string }{
		"a test": {"=== RUN   TestA\n--- PASS: TestA (0.0s)\n=== RUN   TestB\n--- FAIL: TestB (0.0s)\nFAIL\n", "TestB"},
		"a subtest": {
			"=== RUN   TestA\n=== RUN   TestA/x\n" +
				"--- FAIL: TestA (0.0s)\n    --- FAIL: TestA/x (0.0s)\n    --- FAIL: TestA/y (0.0s)\n",
			"TestA/x",
		},
		"out of time":     {"=== RUN   TestA\npanic: test timed out after 1s\n", "TestA (time limit)"},
		"after the tests": {"=== RUN   TestA\n--- PASS: TestA (0.0s)\nPASS\ngoleak: found leaks\n", "after TestA"},
	} {
		if got := firstFailure(c.output); got != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestQuickTestsComeFirst(t *testing.T) {
	var got []string
	tests := []test{
		{name: "A", took: 1},
		{name: "B", took: 2},
		{name: "C", took: 3e8},
		{name: "D", took: 4e8},
		{name: "E", took: 9e9},
	}
	for names := range batches(tests, func(c test) bool { return c.name != "B" }) {
		got = append(got, strings.Join(names, " "))
	}
	if want := "A, C D, E"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
