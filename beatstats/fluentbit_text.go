package beatstats

import (
	"bytes"
	"math"
	"strings"
	"time"
)

// isFluentBitText tells the second interface of Fluent Bit by its first reading:
// /api/v2/metrics/prometheus (Prometheus text 0.0.4) and /api/v2/metrics, the
// same as CMetrics writes it, with the time before and "=" before the value.
func isFluentBitText(body []byte) bool {
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
		case line[0] == '{' || line[0] == '[':
			return false
		default:
			m, ok := parseMetric(line)
			return ok && strings.HasPrefix(m.name, "fluentbit_")
		}
	}
	return false
}

// metric is one line: of its labels the plugin's name and the version.
type metric struct{ name, plugin, version, value string }

// parseMetric reads `name{label="value"} 7 1650474793104` and
// `2024-06-11T07:05:37.257418778Z name{label="value"} = 7`.
func parseMetric(line []byte) (m metric, ok bool) {
	text := string(line)
	if text[0] >= '0' && text[0] <= '9' { // no name begins with a digit
		_, text, _ = strings.Cut(text, " ")
	}
	end := strings.IndexAny(text, "{ ")
	if end <= 0 {
		return metric{}, false
	}
	m.name = text[:end]
	if text = text[end:]; text[0] == '{' {
		if text, ok = m.labels(text[1:]); !ok {
			return metric{}, false
		}
	}
	m.value, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimLeft(text, " "), "= "), " ")
	return m, m.value != ""
}

// labels reads up to the closing bracket and returns what follows it.
func (m *metric) labels(text string) (rest string, ok bool) {
	for {
		text = strings.TrimLeft(text, ", ")
		if after, done := strings.CutPrefix(text, "}"); done {
			return after, true
		}
		label, quoted, ok := strings.Cut(text, `="`)
		if !ok {
			return "", false
		}
		end := 0
		for end < len(quoted) && quoted[end] != '"' {
			if quoted[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(quoted) {
			return "", false
		}
		switch value := quoted[:end]; label {
		case "name":
			m.plugin = value
		case "version":
			m.version = value
		}
		text = quoted[end+1:]
	}
}

// fluentBitGroups is where the metrics of each plugin go, all plugins taken
// together. The names are registered in fluent-bit's src/flb_input.c and
// src/flb_output.c. Pending are chunks, as the engine keeps them.
var fluentBitGroups = map[string]func(*Sample) **Value{
	"fluentbit_input_records_total":          func(s *Sample) **Value { return &s.EventsIn },
	"fluentbit_input_storage_chunks":         func(s *Sample) **Value { return &s.Pending },
	"fluentbit_input_storage_memory_bytes":   func(s *Sample) **Value { return &s.PendingBytes },
	"fluentbit_output_proc_records_total":    func(s *Sample) **Value { return &s.Acked },
	"fluentbit_output_proc_bytes_total":      func(s *Sample) **Value { return &s.WriteBytes },
	"fluentbit_output_errors_total":          func(s *Sample) **Value { return &s.WriteErrors },
	"fluentbit_output_retries_total":         func(s *Sample) **Value { return &s.Retries },
	"fluentbit_output_retries_failed_total":  func(s *Sample) **Value { return &s.Failed },
	"fluentbit_output_dropped_records_total": func(s *Sample) **Value { return &s.Dropped },
}

func parseFluentBitText(body []byte) Sample {
	s := Sample{Kind: FluentBit, Name: FluentBit}
	if note := invalidUTF8(body); note != "" {
		s.Notes = append(s.Notes, note)
	}
	found := map[string][]*Value{}
	seen := map[[2]string]*Value{}
	var outputs []string
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		m, ok := parseMetric(line)
		if !ok {
			s.bad(line)
			continue
		}
		switch {
		case m.name == "fluentbit_uptime":
			if n, corrupt := count(m.value); corrupt == "" && n <= math.MaxInt64/int64(time.Second) {
				s.Uptime = new(time.Duration(n) * time.Second)
			}
		case m.name == "fluentbit_build_info":
			s.Version = strings.ToValidUTF8(m.version, "\ufffd")
		case fluentBitGroups[m.name] != nil:
			key := [2]string{m.name, m.plugin}
			if seen[key] != nil {
				seen[key].twice()
				continue
			}
			v := &Value{Key: strings.ToValidUTF8(m.name+"{"+m.plugin+"}", "\ufffd")}
			v.N, v.Corrupt = count(m.value)
			seen[key] = v
			found[m.name] = append(found[m.name], v)
			if m.name == "fluentbit_output_proc_records_total" {
				outputs = append(outputs, strings.ToValidUTF8(m.plugin, "\ufffd"))
			}
		}
	}
	for name, field := range fluentBitGroups {
		*field(&s) = sum(found[name])
	}
	s.Output = join(outputs)
	return s
}

// bad notes a line that can't be read, the first one with its text.
func (s *Sample) bad(line []byte) {
	const note = "lines that are no metrics, the first: "
	for _, n := range s.Notes {
		if strings.HasPrefix(n, note) {
			return
		}
	}
	s.Notes = append(s.Notes, note+quote(line, 60))
}
