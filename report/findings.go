package report

import (
	"bytes"
	"fmt"
	"strings"

	"halfopen/beatstats"
)

// Findings is what the lint says of a file, each with its place, what it does, why
// that matters, what to set, and how it is known.
func Findings(file string, findings []beatstats.Finding) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", file)
	if len(findings) == 0 {
		b.WriteString("  nothing to say\n")
	}
	for _, f := range findings {
		at := ""
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d: ", file, f.Line)
		}
		fmt.Fprintf(&b, "  %-7s %s%s\n          %s\n", f.Level, at, f.Named(), f.What)
		for _, part := range []struct{ name, text string }{{"why", f.Why}, {"set", f.Set}, {"source", f.Source}} {
			if part.text != "" && part.text != "nothing" {
				fmt.Fprintf(&b, "          %-7s %s\n", part.name+":", part.text)
			}
		}
	}
	return []byte(Plain(strings.ToValidUTF8(b.String(), "\ufffd")))
}
