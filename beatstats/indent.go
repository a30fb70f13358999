package beatstats

import (
	"regexp"
	"strings"
)

// misplacedKey is a key that stands beside the list item it belongs to.
type misplacedKey struct {
	key  string // "paths"
	line int    // from 1
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*:(\s|$)`)

// mendIndent looks for a key at the very indent of the "- " items before it,
// deeper than the list's own key, where YAML allows only another "- ":
//
//	filebeat.inputs:
//	 - type: log
//	 paths:
//	  - /logs/*.log
//
// and moves the first such block to the right, into the item.
func mendIndent(src []byte) (mended []byte, found misplacedKey, ok bool) {
	lines := strings.Split(string(src), "\n")
	list := -1 // indent of the list we are in
	for i, line := range lines {
		body := strings.TrimLeft(line, " ")
		if body == "" || strings.HasPrefix(body, "#") {
			continue
		}
		switch indent := len(line) - len(body); {
		case body == "-" || strings.HasPrefix(body, "- "):
			list = indent
		case indent < list || indent == 0:
			list = -1
		case indent == list && plainKey.MatchString(body):
			found = misplacedKey{key: body[:strings.IndexByte(body, ':')], line: i + 1}
			shift(lines[i:], indent)
			return []byte(strings.Join(lines, "\n")), found, true
		}
	}
	return nil, found, false
}

// shift moves lines two columns to the right, up to the next item of the list
// at indent or the end of the list.
func shift(lines []string, indent int) {
	for i, line := range lines {
		body := strings.TrimLeft(line, " ")
		at := len(line) - len(body)
		if body == "" {
			continue
		}
		if at < indent || at == indent && strings.HasPrefix(body, "-") {
			return
		}
		lines[i] = "  " + line
	}
}

func misindented(k misplacedKey) Finding {
	return Finding{
		Rule: "misindented", Level: LevelError, Setting: "filebeat.inputs", Value: k.key + ":", Line: k.line,
		What:   "`" + k.key + ":` stands beside its `- ` item, not in it: this is no YAML, and Filebeat does not start",
		Why:    "a list holds only items; the rest of the file was read as if the block were indented by two more columns",
		Set:    "two more spaces before " + k.key + ": and what belongs to it",
		Source: "YAML 1.2.2, section 8.2.1",
	}
}
