package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"halfopen/logtail"
)

// config is what a file named by --config says.
type config struct {
	options  []option
	patterns []logtail.Rule
}

// option is one option of the command line.
type option struct {
	name   string
	values []string
	line   int
}

const patternsKey = "patterns"

var patternKeys = []string{"name", "match", "contains", "means"}

// Bounds on a file. The parser's time grows with the square, or more, of what
// makes it nest.
const (
	maxConfig       = 64 << 10 // bytes
	maxConfigLines  = 1000     // without blank ones and comments
	maxConfigIndent = 32       // columns
	maxConfigOpen   = 200      // [ and {
	maxConfigDashes = 8        // lists that begin in one line
)

// parseConfig reads a file. An error names its line.
func parseConfig(src []byte) (config, error) {
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // the mark that some editors begin a file with
	if err := boundConfig(src); err != nil {
		return config{}, err
	}
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		return config{}, plainYAMLError(err)
	}
	switch {
	case len(file.Docs) > 1:
		return config{}, errors.New("more than one document (---)")
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return config{}, nil
	}
	var c config
	err = eachKey(file.Docs[0].Body, func(key string, line int, value ast.Node) error {
		if key == patternsKey {
			return c.addPatterns(value)
		}
		values, err := scalars(value)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", line, key, err)
		}
		c.options = append(c.options, option{key, values, line})
		return nil
	})
	return c, err
}

// boundConfig refuses what is beyond any settings, before the parser sees it.
func boundConfig(src []byte) error {
	lines, open, number := 0, 0, 0
	for line := range bytes.Lines(src) {
		number++
		body := bytes.TrimLeft(line, " ")
		if len(bytes.TrimSpace(body)) == 0 || body[0] == '#' {
			continue
		}
		lines++
		open += bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		dashes := 0
		for rest := body; len(rest) > 1 && (rest[0] == '-' || rest[0] == '?') && (rest[1] == ' ' || rest[1] == '\t'); dashes++ {
			rest = bytes.TrimLeft(rest[1:], " \t")
		}
		switch {
		case lines > maxConfigLines:
			return fmt.Errorf("more than %d lines", maxConfigLines)
		case open > maxConfigOpen:
			return fmt.Errorf("line %d: more than %d brackets", number, maxConfigOpen)
		case len(line)-len(body) > maxConfigIndent:
			return fmt.Errorf("line %d: indented by more than %d columns", number, maxConfigIndent)
		case dashes > maxConfigDashes:
			return fmt.Errorf("line %d: more than %d lists in one line", number, maxConfigDashes)
		}
	}
	return nil
}

// plainYAMLError names the line and what is wrong, without the lines around it.
func plainYAMLError(err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil && y.GetToken().Position != nil {
		return fmt.Errorf("line %d: %s", y.GetToken().Position.Line, y.GetMessage())
	}
	return err
}

// eachKey goes through a mapping.
func eachKey(n ast.Node, each func(key string, line int, value ast.Node) error) error {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
	default:
		return fmt.Errorf("line %d: want names with values, such as \"port: 5044\"", lineOf(n))
	}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return fmt.Errorf("line %d: want the name of an option before the colon", lineOf(v))
		}
		if err := each(key.Value, lineOf(key), v.Value); err != nil {
			return err
		}
	}
	return nil
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// scalars gives a value, or each of a list.
func scalars(n ast.Node) (values []string, err error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		v, err := scalar(n)
		return []string{v}, err
	}
	for _, item := range list.Values {
		v, err := scalar(item)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// scalar is the text of a value: as written, so that 0x13B4 is a port and 010
// no octal number.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", errors.New("it has no value")
	}
	return "", errors.New("want a value, or a list of values")
}

// addPatterns reads the list of the user's own patterns.
func (c *config) addPatterns(n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return fmt.Errorf("line %d: %s: want a list, each with name, match and means", lineOf(n), patternsKey)
	}
	for _, item := range list.Values {
		var r logtail.Rule
		fields := map[string]*string{"name": &r.Name, "match": &r.Regexp, "contains": &r.Contains, "means": &r.Means}
		err := eachKey(item, func(key string, line int, value ast.Node) error {
			if fields[key] == nil {
				return fmt.Errorf("line %d: a pattern has no %q%s", line, key, nearest(key, patternKeys))
			}
			text, err := scalar(value)
			if err != nil {
				return fmt.Errorf("line %d: %s: %w", line, key, err)
			}
			*fields[key] = text
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := logtail.NewMatcher([]logtail.Rule{r}); err != nil {
			return fmt.Errorf("line %d: %w", lineOf(item), err)
		}
		c.patterns = append(c.patterns, r)
	}
	return nil
}
