package beatstats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Parse reads the counters of whichever known service sent body. Its errors
// are *Error with the reasons NotJSON and WrongService.
func Parse(body []byte) (Sample, error) {
	const op = "parse counters"
	if isFluentBitText(body) {
		return parseFluentBitText(body), nil
	}
	doc, err := decode(op, body)
	if err != nil {
		return Sample{}, err
	}
	for _, k := range kinds {
		if k.claims(doc) {
			return k.parse(body, doc), nil
		}
	}
	return Sample{}, foreign(op, doc)
}

// ParseBeat reads the body of a Beat's /stats.
func ParseBeat(body []byte) (Sample, error) { return parseAs(Beat, body) }

// ParseLogstash reads the body of Logstash's /_node/stats.
func ParseLogstash(body []byte) (Sample, error) { return parseAs(Logstash, body) }

// ParseFluentd reads the body of Fluentd's /api/plugins.json.
func ParseFluentd(body []byte) (Sample, error) { return parseAs(Fluentd, body) }

// ParseFluentBit reads the body of Fluent Bit's /api/v1/metrics,
// /api/v2/metrics and /api/v2/metrics/prometheus.
func ParseFluentBit(body []byte) (Sample, error) { return parseAs(FluentBit, body) }

// kinds are the services in the order they are tried.
var kinds = []struct {
	name, path string
	claims     func(doc gjson.Result) bool
	parse      func(body []byte, doc gjson.Result) Sample
}{
	{Beat, "/stats", func(d gjson.Result) bool { return d.Get("libbeat").IsObject() }, parseBeat},
	{Logstash, "/_node/stats", func(d gjson.Result) bool { return d.Get("pipelines").IsObject() && d.Get("version").Exists() }, parseLogstash},
	{Fluentd, "/api/plugins.json", func(d gjson.Result) bool { return d.Get("plugins").IsArray() }, parseFluentd},
	{FluentBit, "/api/v2/metrics/prometheus", func(gjson.Result) bool { return false }, nil}, // of Fluent Bit 2; it is no JSON
	{FluentBit, "/api/v1/metrics", func(d gjson.Result) bool { return d.Get("input").IsObject() && d.Get("output").IsObject() }, parseFluentBit},
}

func parseAs(name string, body []byte) (Sample, error) {
	op := "parse " + name + " counters"
	if name == FluentBit && isFluentBitText(body) {
		return parseFluentBitText(body), nil
	}
	doc, err := decode(op, body)
	if err != nil {
		return Sample{}, err
	}
	for _, k := range kinds {
		if k.name == name && k.claims(doc) {
			return k.parse(body, doc), nil
		}
	}
	return Sample{}, foreign(op, doc)
}

// maxDepth is far above the ten levels of a real body and far below what
// overflows the stack: gjson descends once a level and a Go stack overflow
// can't be recovered.
const maxDepth = 64

// decode returns the top-level object of body.
func decode(op string, body []byte) (gjson.Result, error) {
	bad := func(detail string) (gjson.Result, error) {
		return gjson.Result{}, &Error{Reason: NotJSON, Op: op, Detail: detail}
	}
	if deeper(body, maxDepth) {
		return bad(fmt.Sprintf("nested deeper than %d levels: %s", maxDepth, quote(body, 60)))
	}
	if !gjson.ValidBytes(body) {
		return bad(looksLike(body))
	}
	doc := gjson.ParseBytes(body)
	if !doc.IsObject() {
		return bad("want a JSON object, have " + quote(body, 60))
	}
	return doc, nil
}

// deeper reports whether brackets outside of strings nest more than max deep.
func deeper(body []byte, max int) bool {
	if bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) <= max {
		return false
	}
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i = stringEnd(body, i)
		case '{', '[':
			if depth++; depth > max {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// stringEnd is where the string ends that begins at start: at its closing quote,
// or at the end of body.
func stringEnd(body []byte, start int) int {
	for at := start + 1; ; {
		n := bytes.IndexByte(body[at:], '"')
		if n < 0 {
			return len(body)
		}
		end := at + n
		slashes := end
		for slashes > at && body[slashes-1] == '\\' {
			slashes--
		}
		if (end-slashes)%2 == 0 {
			return end
		}
		at = end + 1
	}
}

// looksLike says what a body that is not JSON is instead.
func looksLike(body []byte) string {
	text := bytes.TrimSpace(body)
	lower := bytes.ToLower(text[:min(len(text), 64)])
	what := "not JSON"
	switch {
	case len(text) == 0:
		return "empty body, want JSON"
	case bytes.HasPrefix(lower, []byte("<!doctype html")), bytes.HasPrefix(lower, []byte("<html")):
		what = "an HTML page, not JSON"
	case text[0] == '<':
		what = "XML, not JSON"
	case bytes.HasPrefix(text, []byte("# HELP")), bytes.HasPrefix(text, []byte("# TYPE")):
		what = "Prometheus text, not JSON"
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}): // RFC 1952, section 2.3.1
		what = "gzip data, not JSON"
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, new(json.RawMessage)); (text[0] == '{' || text[0] == '[') && errors.As(err, &syntax) {
		if int(syntax.Offset) >= len(text) && strings.Contains(syntax.Error(), "unexpected end") {
			return fmt.Sprintf("JSON cut off after %d bytes, it ends with %s", len(body), quote(text[max(0, len(text)-30):], 30))
		}
		return fmt.Sprintf("broken JSON at byte %d, %v: %s", syntax.Offset, syntax, quote(around(body, syntax.Offset), 60))
	}
	return what + ": " + quote(text, 60)
}

// around is the part of body about an offset.
func around(body []byte, offset int64) []byte {
	at := int(offset)
	return body[max(0, at-30):min(len(body), at+30)]
}

// foreign describes a JSON object that holds no known counters.
func foreign(op string, doc gjson.Result) error {
	e := &Error{Reason: WrongService, Op: op}
	switch {
	case doc.Get("beat").Type == gjson.String:
		e.Detail = "this is what a Beat answers at /, its counters are at /stats"
	case doc.Get("fluent-bit").Exists():
		e.Detail = "this is what Fluent Bit answers at /, its counters are at /api/v1/metrics"
	case doc.Get("http_address").Exists() && doc.Get("ephemeral_id").Exists():
		e.Detail = "this is Logstash, but without pipelines: its counters are at /_node/stats"
	default:
		e.Detail = "not the counters of a Beat (libbeat), Logstash (pipelines), Fluentd (plugins) or Fluent Bit (input, output), but " + keys(doc)
	}
	return e
}

// keys names the first keys of an object.
func keys(doc gjson.Result) string {
	var names []string
	doc.ForEach(func(key, _ gjson.Result) bool {
		names = append(names, quote(key.Str, 40))
		return len(names) < 6
	})
	if len(names) == 0 {
		return "an empty object"
	}
	return "an object with " + strings.Join(names, ", ")
}

// invalidUTF8 is the note for a body with bytes that are no UTF-8, "" if there
// are none. The counters are ASCII: the rest of such a body is still good.
func invalidUTF8(body []byte) string {
	if utf8.Valid(body) {
		return ""
	}
	at := 0
	for r, n := utf8.DecodeRune(body); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(body[at:]) {
		at += n
	}
	return fmt.Sprintf("invalid UTF-8 from byte %d: %s", at, quote(around(body, int64(at)), 60))
}
