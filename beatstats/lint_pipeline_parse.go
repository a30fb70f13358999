package beatstats

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// ParsePipeline reads a Logstash configuration for its beats inputs (the grammar
// is logstash-core/lib/logstash/config/grammar.treetop). What it does not know it
// passes over; a block that is not closed, or closed twice, is an error.
func ParsePipeline(r io.Reader) (PipelineConfig, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxSettingsFile+1))
	if err != nil {
		return PipelineConfig{}, fmt.Errorf("read pipeline: %w", err)
	}
	if len(src) > maxSettingsFile {
		return PipelineConfig{}, fmt.Errorf("read pipeline: more than %d bytes: %w", maxSettingsFile, ErrTooMuch)
	}
	return parsePipeline(strings.TrimPrefix(string(src), "\ufeff"))
}

// LooksLikePipeline tells a Logstash configuration from a YAML file by its first
// word.
func LooksLikePipeline(src []byte) bool { return pipelineStart.Match(src) }

var pipelineStart = regexp.MustCompile(`\A(?:\x{feff})?(?:\s+|#[^\n]*(?:\n|\z))*(?:input|filter|output)\s*(?:#[^\n]*\s*)*\{`)

// word is a token of a pipeline: a bare word, a string without its quotes, or a
// mark such as { or =>.
type word struct {
	text   string
	quoted bool
	line   int
}

func (w word) is(mark string) bool { return !w.quoted && w.text == mark }

// A comment is a token of its own here, and a pattern, which may hold any mark,
// is known by the operator before it.
var pipelineWord = regexp.MustCompile(`#[^\n]*|"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[=!]~\s*/(?:[^/\\\n]|\\.)*/|=>|[{}\[\]]|[^\s{}\[\]"'#=]+|[^\s]`)

func parsePipeline(src string) (p PipelineConfig, err error) {
	var words []word
	line, from := 1, 0
	for _, at := range pipelineWord.FindAllStringIndex(src, -1) {
		line += strings.Count(src[from:at[0]], "\n")
		from = at[0]
		switch text := src[at[0]:at[1]]; {
		case text[0] == '#':
		case text == `"` || text == "'":
			return PipelineConfig{}, fmt.Errorf("parse pipeline: line %d: the string that begins here is not closed", line)
		case len(text) > 1 && (text[0] == '"' || text[0] == '\''):
			words = append(words, word{text[1 : len(text)-1], true, line})
		default:
			words = append(words, word{text, false, line})
		}
	}
	r := pipelineReader{words: words}
	if err := r.body("", nil, 0); err != nil {
		return PipelineConfig{}, err
	}
	if len(r.words) > 0 {
		return PipelineConfig{}, fmt.Errorf("parse pipeline: line %d: } closes nothing", r.words[0].line)
	}
	for i := range r.beats {
		p.odd = append(p.odd, r.beats[i].read()...)
	}
	p.Beats = r.beats
	return p, nil
}

type pipelineReader struct {
	words []word
	beats []BeatsInput
}

// body reads up to the brace that closes the block path ("/input/beats"), whose
// attributes go to values.
func (r *pipelineReader) body(path string, values map[string]word, depth int) error {
	var head word
	for len(r.words) > 0 {
		w := r.words[0]
		switch {
		case w.is("}"):
			return nil // the caller's
		case w.is("=>"):
			r.words = r.words[1:]
			if len(r.words) > 0 && !r.words[0].is("{") && !r.words[0].is("}") {
				if values != nil {
					values[head.text] = r.words[0]
				}
				head, r.words = r.words[0], r.words[1:]
			}
		case w.is("{") && depth == maxYAMLDepth:
			return fmt.Errorf("parse pipeline: line %d: nested deeper than %d levels: %w", w.line, maxYAMLDepth, ErrTooMuch)
		case w.is("{"):
			r.words = r.words[1:]
			inner := path
			if !head.is("if") { // a condition is no part of the path
				inner += "/" + head.text
			}
			var attributes map[string]word
			if inner == "/input/beats" {
				attributes = map[string]word{}
			}
			if err := r.body(inner, attributes, depth+1); err != nil {
				return err
			}
			if len(r.words) == 0 {
				return fmt.Errorf("parse pipeline: line %d: the block that begins here is not closed", w.line)
			}
			r.words = r.words[1:]
			if attributes != nil {
				r.beats = append(r.beats, BeatsInput{Line: head.line, values: attributes})
			}
			head = word{}
		default:
			if !head.is("if") {
				head = w
			}
			if w.is("else") {
				head = word{text: "if", line: w.line}
			}
			r.words = r.words[1:]
		}
	}
	return nil
}
