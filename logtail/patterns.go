package logtail

import (
	"regexp"
	"slices"
	"strings"
)

// Pattern is a kind of line that says something of a connection that ships
// logs, or of what it depends on.
type Pattern struct {
	Name    string // program and event, such as "filebeat-io-timeout"
	Means   string // one sentence
	Source  string // where the program writes it: file or issue
	Example string // a line it matches

	contains string         // that each such line has
	regexp   *regexp.Regexp // that it matches besides; nil: contains is enough
}

// Match finds the first pattern that a line or message matches; the table lists
// the particular ones before the general. It looks at the words only: which
// program wrote the line is for the caller to know.
func Match(msg string) (Pattern, bool) {
	for _, p := range patterns {
		if p.matches(msg) {
			return p, true
		}
	}
	return Pattern{}, false
}

func (p Pattern) matches(msg string) bool {
	return strings.Contains(msg, p.contains) && (p.regexp == nil || p.regexp.MatchString(msg))
}

// Patterns lists all patterns in the order in which Match tries them.
func Patterns() []Pattern { return append([]Pattern(nil), patterns...) }

var patterns = slices.Concat(filebeatPatterns, logstashPatterns, kernelPatterns, balancerPatterns)
