package report

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Plain makes text fit for a terminal: what does not print, such as an escape
// sequence in a log line or in a stranger's recording, is spelt out. Newlines stay.
func Plain(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// Line is Plain for what must stay on one line: a name that others choose.
func Line(s string) string { return strings.ReplaceAll(Plain(s), "\n", `\n`) }

// JSON is a value as indented JSON, with what does not print as \u escapes: it
// may go to a terminal as well as to a program.
func JSON(v any) ([]byte, error) {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	var b strings.Builder
	for _, r := range string(out) {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xFFFF: // as a surrogate pair, RFC 8259, section 7
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3FF)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return []byte(b.String()), nil
}
