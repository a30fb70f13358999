package logtail_test

import (
	"strings"
	"testing"

	"halfopen/logtail"
)

func TestMatcher(t *testing.T) {
	m, err := logtail.NewMatcher([]logtail.Rule{
		{Name: "billing-late", Means: "The nightly run is late.", Contains: "run overdue"},
		{Name: "any-timeout", Means: "Something timed out.", Regexp: `(?i)time-?out`},
	})
	must(t, err)
	for msg, want := range map[string]string{
		"":                                    "",
		"nightly run overdue by 4 s, timeout": "billing-late any-timeout",
		"Failed to publish events caused by: read tcp 10.0.0.1:1->10.0.0.2:5044: i/o timeout": "filebeat-io-timeout any-timeout",
		"client is not connected": "filebeat-not-connected",
		"bin\xff\x00 TIME-OUT":    "any-timeout",
	} {
		var names []string
		for _, p := range m.Match(msg) {
			names = append(names, p.Name)
			if p.Means == "" || p.Source == "" {
				t.Errorf("%+v", p)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("Match(%q) = %q, want %q", msg, got, want)
		}
	}
	none, err := logtail.NewMatcher(nil)
	must(t, err)
	if len(none.Match("run overdue")) != 0 {
		t.Error("a rule of another Matcher matched")
	}
}

func TestMatcherRefuses(t *testing.T) {
	ok := logtail.Rule{Name: "own", Means: "x", Contains: "x"}
	with := func(change func(*logtail.Rule)) []logtail.Rule { r := ok; change(&r); return []logtail.Rule{r} }
	for want, rules := range map[string][]logtail.Rule{
		"64 lower-case":                  with(func(r *logtail.Rule) { r.Name = "Own" }),
		`rule 1, "-own"`:                 with(func(r *logtail.Rule) { r.Name = "-own" }),
		`begin with "filebeat-"`:         with(func(r *logtail.Rule) { r.Name = "filebeat-mine" }),
		`begin with "kernel-"`:           with(func(r *logtail.Rule) { r.Name = "kernel-link-down" }),
		"what it means":                  with(func(r *logtail.Rule) { r.Means = " " }),
		"either the text":                with(func(r *logtail.Rule) { r.Contains = "" }),
		"or a regular expression":        with(func(r *logtail.Rule) { r.Regexp = "x" }),
		"not RE2":                        with(func(r *logtail.Rule) { r.Contains, r.Regexp = "", `(?=x)` }),
		"matches every line":             with(func(r *logtail.Rule) { r.Contains, r.Regexp = "", "x*" }),
		`rule 2, "own": another rule`:    {ok, ok},
		strings.Repeat("a", 65) + `": a`: with(func(r *logtail.Rule) { r.Name = strings.Repeat("a", 65) }),
	} {
		if m, err := logtail.NewMatcher(rules); err == nil || m != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewMatcher(%+v): %v, want %s", rules, err, want)
		}
	}
}

func FuzzMatcher(f *testing.F) {
	f.Add("own", "text", "", "a text")
	f.Add("own", "", "(a+)+$", strings.Repeat("a", 100)+"b")
	f.Add("kernel-own", "", "[", "")
	f.Fuzz(func(t *testing.T, name, contains, re, msg string) {
		m, err := logtail.NewMatcher([]logtail.Rule{{Name: name, Means: "x", Contains: contains, Regexp: re}})
		if err != nil {
			return
		}
		for _, p := range m.Match(msg) {
			if p.Name == name && contains != "" && !strings.Contains(msg, contains) {
				t.Errorf("%q matched %q", contains, msg)
			}
		}
		if len(m.Match("")) != 0 {
			t.Errorf("%q matches nothing at all", re)
		}
	})
}
