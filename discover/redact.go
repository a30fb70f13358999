package discover

import (
	"regexp"
	"strings"
)

const (
	redacted = "***"
	// secretWord is in the names of options whose values are nobody's business.
	// It takes a path to a key file as well: rather too much than too little.
	secretWord = `(?:pass|\bpw\b|pwd|secret|token|key|credential|auth|cookie|\bsig\b)`
)

var (
	secretOption = regexp.MustCompile(`(?i)^--?[^=:\s]*` + secretWord + `[^=:\s]*:?$`)
	secretValue  = regexp.MustCompile(`(?i)(` + secretWord + `[^=:\s]*["']?\s*[=:]\s*).*`)
	bearer       = regexp.MustCompile(`(?i)\b(bearer|basic)\s+\S+`)
	urlUser      = regexp.MustCompile(`(\w://)[^/?#\s]*@`)
)

// Redact returns the arguments of a program without secrets: what follows the
// name of an option, or of a setting in "name=value" and "name: value", that has
// password, token, key or the like in it, to the end of the argument; and the
// user part of URLs. A secret behind an option of one letter (-p, -u) can't be
// told from other values.
func Redact(args []string) []string {
	out := make([]string, len(args))
	value := false // of the option before
	for i, arg := range args {
		// A program may join its arguments, or write its title over them.
		line := strings.NewReplacer("\n", " ", "\r", " ").Replace(arg)
		switch {
		case value:
			line = redacted
		default:
			line = secretValue.ReplaceAllString(line, "${1}"+redacted)
			line = bearer.ReplaceAllString(line, "$1 "+redacted)
			line = urlUser.ReplaceAllString(line, "${1}"+redacted+"@")
		}
		value = i > 0 && secretOption.MatchString(arg)
		out[i] = line
	}
	return out
}
