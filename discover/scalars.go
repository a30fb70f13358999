package discover

import (
	"bytes"
	"strings"
)

// parseScalars reads the single values of a YAML file by full name, "a.b" for
// a: {b: …} by indentation as for a flat "a.b:". It is no YAML reader: lists,
// flow style, anchors and long strings are passed over. It is for the few names
// of logstash.yml and filebeat.yml that say where a log is.
func parseScalars(text []byte) map[string]string {
	type level struct {
		indent int
		name   string
	}
	const deepest = 32
	var stack []level
	out := map[string]string{}
	for raw := range bytes.Lines(text) {
		line := strings.TrimRight(string(raw), " \t\r\n")
		body := strings.TrimLeft(line, " ")
		if body == "" || strings.ContainsRune("#-\t{[%", rune(body[0])) {
			continue
		}
		name, value, ok := strings.Cut(body, ":")
		if !ok || value != "" && value[0] != ' ' {
			continue
		}
		indent := len(line) - len(body)
		for len(stack) > 0 && stack[len(stack)-1].indent >= indent {
			stack = stack[:len(stack)-1]
		}
		if len(stack) == deepest {
			continue
		}
		name = strings.Trim(name, `"'`)
		if len(stack) > 0 {
			name = stack[len(stack)-1].name + "." + name
		}
		stack = append(stack, level{indent, name})
		if value = plain(value); value != "" {
			out[name] = value
		}
	}
	return out
}

// plain takes a comment and quotes away.
func plain(value string) string {
	value = strings.TrimSpace(value)
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			return value[1 : 1+end]
		}
		return ""
	}
	value, _, _ = strings.Cut(value, " #")
	if value == "" || strings.ContainsRune("#&*|>{[!", rune(value[0])) {
		return ""
	}
	return strings.TrimSpace(value)
}

// block is a section of a Fluentd or Fluent Bit file, with the values of the
// sections within. Names are in lower case.
type block struct {
	head   string // "source", "match", "service", "output" …
	values map[string][]string
}

func (b block) get(name, byDefault string) string {
	if v := b.values[name]; len(v) > 0 {
		return v[0]
	}
	return byDefault
}

// is reports the type of a plugin: "@type" in Fluentd ("type" before 1.0), "name"
// in Fluent Bit.
func (b block) is(kind string) bool {
	return strings.EqualFold(b.get("@type", b.get("type", b.get("name", ""))), kind)
}

// parseBlocks reads a Fluentd configuration (<source> … </source>) or a classic
// one of Fluent Bit ([SERVICE]). Includes are not followed.
func parseBlocks(text []byte) []block {
	var out []block
	for raw := range bytes.Lines(text) {
		line := strings.TrimSpace(string(raw))
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "</"):
		case line[0] == '<':
			head, _, _ := strings.Cut(strings.Trim(line, "<>"), " ")
			if head == "source" || head == "match" || head == "system" {
				out = append(out, block{head, map[string][]string{}})
			}
		case line[0] == '[':
			out = append(out, block{strings.ToLower(strings.Trim(line, "[]")), map[string][]string{}})
		case len(out) > 0:
			if name, value, ok := strings.Cut(strings.ReplaceAll(line, "\t", " "), " "); ok {
				b, name := out[len(out)-1], strings.ToLower(name)
				b.values[name] = append(b.values[name], strings.Trim(strings.TrimSpace(value), `"'`))
			}
		}
	}
	return out
}
