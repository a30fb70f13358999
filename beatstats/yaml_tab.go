package beatstats

import (
	"regexp"
	"strings"
)

// blockText is the end of a line that opens a text block, whose lines may hold
// anything.
var blockText = regexp.MustCompile(`(?:^|[\s:-])[|>][-+0-9]*\s*(?:#.*)?$`)

// tabIndent finds the first line whose indentation has a tab in it where YAML
// wants spaces (YAML 1.2.2, section 6.1), 0 if there is none. Between brackets and
// in a text block a tab is as good as a space.
func tabIndent(src []byte) (line int) {
	brackets, text := 0, -1 // indent of the line that opened a text block
	n := 0
	for l := range strings.Lines(string(src)) {
		n++
		l = strings.TrimRight(l, "\r\n")
		body := strings.TrimLeft(l, " \t")
		if body == "" {
			continue
		}
		margin := l[:len(l)-len(body)]
		spaces := len(margin) - len(strings.TrimLeft(margin, " "))
		if text >= 0 && spaces > text {
			continue
		}
		text = -1
		if brackets == 0 && strings.Contains(margin, "\t") {
			return n
		}
		code := withoutQuotes(body)
		brackets = max(0, brackets+strings.Count(code, "[")+strings.Count(code, "{")-strings.Count(code, "]")-strings.Count(code, "}"))
		if brackets == 0 && blockText.MatchString(code) {
			text = spaces
		}
	}
	return 0
}

// quotedOrComment is what no bracket counts in.
var quotedOrComment = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'|(?:^|\s)#.*`)

func withoutQuotes(s string) string { return quotedOrComment.ReplaceAllString(s, "") }
