package beatstats

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// entry is one scalar of a settings file.
type entry struct {
	text   string // as Beats gets it: unquoted
	number bool   // an unquoted number, which Beats takes for seconds where it wants a duration
	line   int
}

// Bounds on a settings file, far above filebeat.reference.yml. Aliases could
// make a small file endless, and the parser's time grows with the square of
// what the last four bound.
const (
	maxSettings  = 20_000
	maxYAMLDepth = 64
	maxLines     = 5_000 // without blank ones and comments
	maxBrackets  = 2_000 // [ and {
	maxLine      = 16 << 10
)

// elaborate says what of src is beyond the bounds, "" if nothing is.
func elaborate(src []byte) string {
	lines, brackets := 0, 0
	for line := range bytes.Lines(src) {
		length := len(line)
		line = bytes.TrimLeft(line, " \t\r\n")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		lines++
		brackets += bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		depth := 0
		for ; len(line) > 1 && (line[0] == '-' || line[0] == '?') && (line[1] == ' ' || line[1] == '\t'); depth++ {
			line = bytes.TrimLeft(line[1:], " \t")
		}
		switch {
		case length > maxLine:
			return fmt.Sprintf("a line of %d bytes, the limit is %d", length, maxLine)
		case lines > maxLines:
			return fmt.Sprintf("more than %d lines", maxLines)
		case brackets > maxBrackets:
			return fmt.Sprintf("more than %d brackets", maxBrackets)
		case depth > maxYAMLDepth:
			return fmt.Sprintf("more than %d lists in one line", maxYAMLDepth)
		}
	}
	return ""
}

// flatten reads a settings file into its scalars by full name: "a.b" stands
// for a: {b: …} as for a flat "a.b:", and a list adds its index: "a.0". again
// lists the names set more than once; the last one counts.
func flatten(src []byte) (at map[string]entry, again []string, err error) {
	if beyond := elaborate(src); beyond != "" {
		return nil, nil, errors.New("parse settings: " + beyond)
	}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, nil, syntaxError(src, err)
	}
	f := flattener{at: map[string]entry{}, anchors: map[string]ast.Node{}}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return f.at, nil, nil
	}
	switch body := file.Docs[0].Body.(type) { // Beats reads the first document only
	case *ast.MappingNode, *ast.MappingValueNode:
		err = f.add("", body, 0)
	case *ast.NullNode, *ast.CommentGroupNode:
	default:
		err = fmt.Errorf("parse settings: want names with values, have %s", quote(bytes.TrimSpace(src), 30))
	}
	return f.at, f.again, err
}

// syntaxError names the line of a YAML error and quotes it.
func syntaxError(src []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return fmt.Errorf("parse settings: %w", err)
	}
	n := y.GetToken().Position.Line
	line := ""
	if lines := strings.Split(string(src), "\n"); n >= 1 && n <= len(lines) {
		line = lines[n-1]
	}
	return fmt.Errorf("parse settings: line %d: %s: %s", n, y.GetMessage(), quote(withoutSecrets(line), 80))
}

var (
	secretValue = regexp.MustCompile(`(?i)((?:pass|secret|token|key|credential)[^:]*:\s*).+`)
	urlUser     = regexp.MustCompile(`//[^/@\s]*@`)
)

// withoutSecrets masks what a quoted line must not give away.
func withoutSecrets(line string) string {
	return urlUser.ReplaceAllString(secretValue.ReplaceAllString(line, "${1}…"), "//…@")
}

type flattener struct {
	at      map[string]entry
	again   []string
	anchors map[string]ast.Node
	nodes   int
}

func (f *flattener) add(name string, n ast.Node, depth int) error {
	if f.nodes++; f.nodes > maxSettings || depth > maxYAMLDepth {
		return fmt.Errorf("parse settings: more than %d settings, or nested deeper than %d levels", maxSettings, maxYAMLDepth)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := f.add(name, v, depth); err != nil {
				return err
			}
		}
	case *ast.MappingValueNode:
		if n.Key.IsMergeKey() {
			return f.add(name, n.Value, depth+1)
		}
		key := n.Key.GetToken().Value
		if name != "" {
			key = name + "." + key
		}
		return f.add(key, n.Value, depth+1)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if err := f.add(name+"."+strconv.Itoa(i), v, depth+1); err != nil {
				return err
			}
		}
	case *ast.AnchorNode:
		f.anchors[n.Name.GetToken().Value] = n.Value
		return f.add(name, n.Value, depth+1)
	case *ast.AliasNode:
		target := f.anchors[n.Value.GetToken().Value]
		if target == nil {
			return fmt.Errorf("parse settings: line %d: no anchor %q", n.GetToken().Position.Line, n.Value.GetToken().Value)
		}
		return f.add(name, target, depth+1)
	case *ast.TagNode:
		return f.add(name, n.Value, depth+1)
	case *ast.NullNode: // as if not set
	case *ast.LiteralNode:
		f.set(name, entry{text: n.Value.Value, line: n.GetToken().Position.Line})
	case ast.ScalarNode:
		_, integer := n.(*ast.IntegerNode)
		_, float := n.(*ast.FloatNode)
		f.set(name, entry{text: n.GetToken().Value, number: integer || float, line: n.GetToken().Position.Line})
	}
	return nil
}

func (f *flattener) set(name string, e entry) {
	if name == "" { // of an empty key
		return
	}
	if _, set := f.at[name]; set {
		f.again = append(f.again, name)
	}
	f.at[name] = e
}
