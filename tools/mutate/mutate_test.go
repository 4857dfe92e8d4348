package main

import (
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	for name, c := range map[string]struct {
		mutant
		want, wantErr string
	}{
		"the only one":              {mutant{old: "b", new: "x"}, "axa", ""},
		"the second":                {mutant{old: "a", new: "x", nth: 2}, "abx", ""},
		"removed":                   {mutant{old: "b", new: ""}, "aa", ""},
		"not there":                 {mutant{old: "c", new: "x"}, "", `there is no "c"`},
		"not said which":            {mutant{old: "a", new: "x"}, "", `"a" occurs 2 times; say with nth which is meant`},
		"more often than it occurs": {mutant{old: "a", new: "x", nth: 3}, "", `"a" occurs 2 times, not 3`},
		"unchanged":                 {mutant{old: "b", new: "b"}, "", "nothing is replaced"},
	} {
		got, err := c.edit("aba")
		if got != c.want || err == nil != (c.wantErr == "") || err != nil && err.Error() != c.wantErr {
			t.Errorf("%s: got %q, %v; want %q, %q", name, got, err, c.want, c.wantErr)
		}
	}
}

func TestReadFindsTheFirstTestThatFailed(t *testing.T) {
	for name, c := range map[string]struct {
		output       string
		failed       []string
		compileError string
	}{
		"none": {`{"Action":"run","Test":"TestA"}
			{"Action":"pass","Test":"TestA"}
			{"Action":"pass"}`, nil, ""},
		"a subtest": {`{"Action":"run","Test":"TestA"}
			{"Action":"fail","Test":"TestA/sub"}
			{"Action":"fail","Test":"TestA"}
			{"Action":"fail"}`, []string{"TestA/sub", "TestA"}, ""},
		"out of time": {`{"Action":"run","Test":"TestA"}
			{"Action":"output","Output":"panic: test timed out after 1s\n"}
			{"Action":"fail","Test":"TestA"}
			{"Action":"fail"}`, []string{"TestA (time limit)"}, ""},
		"after the tests": {`{"Action":"run","Test":"TestA"}
			{"Action":"pass","Test":"TestA"}
			{"Action":"fail"}`, []string{"after the tests TestA"}, ""},
		"does not compile": {`{"Action":"build-output","Output":"# package\n"}
			{"Action":"build-output","Output":"a.go:1:2: undefined: b\n"}
			{"Action":"build-fail"}
			{"Action":"fail","FailedBuild":"package"}`, nil, "a.go:1:2: undefined: b"},
	} {
		r := read(strings.NewReader(c.output))
		if strings.Join(r.failed, ", ") != strings.Join(c.failed, ", ") || r.compileError != c.compileError {
			t.Errorf("%s: got %q and %q", name, r.failed, r.compileError)
		}
	}
}
