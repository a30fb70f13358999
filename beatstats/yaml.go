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
	"github.com/goccy/go-yaml/token"
)

// entry is one scalar of a settings file.
type entry struct {
	text   string // as Beats gets it: unquoted
	plain  bool   // unquoted: may be a number or a boolean
	line   int    // 0 where it is not from the file
	merged bool   // by "<<": a setting of the block itself may follow
	option bool   // from -E
}

// yamlNumber is what gopkg.in/yaml.v2, which Beats reads its files with, takes
// for a number once underscores are gone (resolve.go). "030" is octal to it.
var yamlNumber = regexp.MustCompile(`^[-+]?(?:0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+|[0-9]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF|\.nan|\.NaN|\.NAN)$`)

// number is the text of an unquoted number, as Go's strconv reads it with base 0.
func (e entry) number() (text string, ok bool) {
	text = strings.ReplaceAll(e.text, "_", "")
	return strings.TrimPrefix(text, "+"), e.plain && yamlNumber.MatchString(text)
}

// spot is a place in a settings file.
type spot struct {
	name string
	line int
}

// document is a settings file by full names: "a.b" stands for a: {b: …} as for a
// flat "a.b:", and a list adds its index: "a.0".
type document struct {
	at    map[string]entry
	again []spot // given more than once in one block; the last one counts
	clash []spot // given in two notations, which Beats refuses
	more  int    // documents behind the first, which Beats does not read
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

// flatten reads a settings file into its scalars by full name.
func flatten(src []byte) (document, error) {
	if beyond := elaborate(src); beyond != "" {
		return document{}, fmt.Errorf("parse settings: %s: %w", beyond, ErrTooMuch)
	}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return document{}, syntaxError(src, err)
	}
	if line := tabIndent(src); line > 0 {
		return document{}, badLine(src, line, "a tab in the indentation, which YAML forbids: Filebeat does not start")
	}
	f := flattener{document: document{at: map[string]entry{}}, anchors: map[string]ast.Node{}}
	var docs []ast.Node
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); !directive {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) == 0 || docs[0] == nil {
		return f.document, nil
	}
	for _, d := range docs[1:] {
		if d != nil {
			f.more++
		}
	}
	switch body := docs[0].(type) { // Beats reads the first document only
	case *ast.MappingNode, *ast.MappingValueNode, *ast.AnchorNode:
		err = f.add("", body, 0)
	case *ast.NullNode, *ast.CommentGroupNode:
	default:
		err = fmt.Errorf("parse settings: want names with values, have %s", quote(bytes.TrimSpace(src), 30))
	}
	return f.document, err
}

// syntaxError names the line of a YAML error and quotes it.
func syntaxError(src []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return fmt.Errorf("parse settings: %w", err)
	}
	n := y.GetToken().Position.Line
	if at := tabIndent(src); at > 0 && at <= n {
		return badLine(src, at, "a tab in the indentation, which YAML forbids: Filebeat does not start")
	}
	return badLine(src, n, y.GetMessage())
}

func badLine(src []byte, n int, why string) error {
	line := ""
	if lines := strings.Split(string(src), "\n"); n >= 1 && n <= len(lines) {
		line = strings.TrimRight(lines[n-1], "\r")
	}
	return fmt.Errorf("parse settings: line %d: %s: %s", n, why, quote(withoutSecrets(line), 80))
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
	document
	anchors map[string]ast.Node
	nodes   int
	merging int // how many "<<" we are in
}

func (f *flattener) add(name string, n ast.Node, depth int) error {
	if f.nodes++; f.nodes > maxSettings || depth > maxYAMLDepth {
		return fmt.Errorf("parse settings: more than %d settings, or nested deeper than %d levels: %w", maxSettings, maxYAMLDepth, ErrTooMuch)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return f.block(name, n.Values, depth)
	case *ast.MappingValueNode:
		return f.pair(name, n, depth)
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
		t := n.GetToken()
		quoted := t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
		f.set(name, entry{text: t.Value, plain: !quoted, line: t.Position.Line})
	}
	return nil
}

// block adds the pairs of a mapping. Of a key given twice yaml.v2 drops the first
// with all that is below it.
func (f *flattener) block(name string, pairs []*ast.MappingValueNode, depth int) error {
	last := map[string]int{}
	for i, p := range pairs {
		if !p.Key.IsMergeKey() {
			last[p.Key.GetToken().Value] = i
		}
	}
	for i, p := range pairs {
		key := p.Key.GetToken()
		if n, ok := last[key.Value]; ok && n != i && !p.Key.IsMergeKey() {
			f.again = append(f.again, spot{below(name, key.Value), pairs[n].Key.GetToken().Position.Line})
			continue
		}
		if err := f.pair(name, p, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f *flattener) pair(name string, p *ast.MappingValueNode, depth int) error {
	if p.Key.IsMergeKey() {
		f.merging++
		defer func() { f.merging-- }()
		return f.add(name, p.Value, depth+1)
	}
	return f.add(below(name, p.Key.GetToken().Value), p.Value, depth+1)
}

func below(block, key string) string {
	if block == "" {
		return key
	}
	return block + "." + key
}

func (f *flattener) set(name string, e entry) {
	if name == "" { // of an empty key
		return
	}
	e.merged = f.merging > 0
	switch old, set := f.at[name]; {
	case !set || old.merged && !e.merged:
	case e.merged: // yaml.v2 takes what comes last, also where that is what was merged
		f.again = append(f.again, spot{name, e.line})
	default:
		f.clash = append(f.clash, spot{name, e.line})
	}
	f.at[name] = e
}
