package logtail

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rule is a pattern of the user's own. Exactly one of Contains and Regexp is set.
type Rule struct {
	Name     string // lower-case letters, digits and dashes, 64 at most; not one that begins as those of the table do
	Means    string // one sentence
	Contains string // text that a message has
	Regexp   string // RE2, as Go's regexp: it takes time linear in the message
}

// Matcher matches messages against the table of patterns and the user's own.
// It can be used by several goroutines.
type Matcher struct{ own []Pattern }

// NewMatcher compiles the user's rules, of which there may be none. The error
// names the rule and what is wrong with it.
func NewMatcher(rules []Rule) (*Matcher, error) {
	m := &Matcher{}
	for i, r := range rules {
		p, err := r.compile()
		if err == nil && slices.ContainsFunc(m.own, func(o Pattern) bool { return o.Name == r.Name }) {
			err = errors.New("another rule has this name")
		}
		if err != nil {
			return nil, fmt.Errorf("rule %d, %q: %w", i+1, r.Name, err)
		}
		m.own = append(m.own, p)
	}
	return m, nil
}

var ruleName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

func (r Rule) compile() (Pattern, error) {
	if !ruleName.MatchString(r.Name) {
		return Pattern{}, errors.New("a name has 1 to 64 lower-case letters, digits and dashes, and begins with no dash")
	}
	for _, p := range patterns {
		program, _, _ := strings.Cut(p.Name, "-")
		if strings.HasPrefix(r.Name, program+"-") {
			return Pattern{}, fmt.Errorf("names that begin with %q are those of the program's own table; use another", program+"-")
		}
	}
	p := Pattern{Name: r.Name, Means: r.Means, Source: "the user's own rule", contains: r.Contains}
	switch {
	case strings.TrimSpace(r.Means) == "":
		return Pattern{}, errors.New("say in one sentence what it means")
	case (r.Contains == "") == (r.Regexp == ""):
		return Pattern{}, errors.New("give either the text that a line contains or a regular expression")
	case r.Regexp != "":
		var err error
		if p.regexp, err = regexp.Compile(r.Regexp); err != nil {
			return Pattern{}, fmt.Errorf("its regular expression is not RE2: %w", err)
		}
		if p.regexp.MatchString("") {
			return Pattern{}, fmt.Errorf("its regular expression %q matches every line", r.Regexp)
		}
	}
	return p, nil
}

// Match gives the patterns that a message matches: at most one of the table,
// then each rule in the order given.
func (m *Matcher) Match(msg string) (found []Pattern) {
	if p, ok := Match(msg); ok {
		found = append(found, p)
	}
	for _, p := range m.own {
		if p.matches(msg) {
			found = append(found, p)
		}
	}
	return found
}
