package main

import (
	"slices"
	"testing"

	"halfopen/logtail"
	"halfopen/verdict"
)

// The judge knows the patterns of logs by the names that recordings hold.
func TestTellersArePatterns(t *testing.T) {
	names := verdict.Tellers()
	if len(names) == 0 {
		t.Fatal("the judge listens to no pattern")
	}
	for _, name := range names {
		if !slices.ContainsFunc(logtail.Patterns(), func(p logtail.Pattern) bool { return p.Name == name }) {
			t.Errorf("no pattern of logtail is called %q", name)
		}
	}
}
