package beatstats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxSettingsFile is far above any real one, in bytes.
const maxSettingsFile = 1 << 20

// ErrTooMuch is wrapped where a file is beyond the bounds here: its own program
// may well read it.
var ErrTooMuch = errors.New("too much to be judged here")

// ParseSettings reads a filebeat.yml, whether its names are nested or flat
// ("output.logstash.timeout: 24h"), with values as Beats reads them: a bare
// number is seconds where a duration is wanted. What stands in for a variable of
// the environment that has a default ("${T:30s}") is that default. Overrides are
// "name=value" as of Filebeat's option -E and stand above the file.
//
// A value Beats would refuse, and one mis-indented block, are kept for Lint to
// report; any other file that is no YAML is an error that quotes its line.
func ParseSettings(r io.Reader, overrides ...string) (Settings, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxSettingsFile+1))
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	if len(src) > maxSettingsFile {
		return Settings{}, fmt.Errorf("read settings: more than %d bytes: %w", maxSettingsFile, ErrTooMuch)
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	s := Settings{}
	doc, err := flatten(src)
	if err != nil {
		mended, misplaced, ok := mendIndent(src)
		if !ok {
			return Settings{}, err
		}
		var still error
		if doc, still = flatten(mended); still != nil {
			return Settings{}, err
		}
		s.odd = append(s.odd, misindented(misplaced))
	}
	s.at = doc.at
	s.odd = append(s.odd, doc.oddities()...)
	for _, pair := range overrides {
		if err := s.override(pair); err != nil {
			return Settings{}, err
		}
	}
	s.adoptPolicy()
	s.read()
	return s, nil
}

// override puts a "name=value" above the file. As with -E, a value may be a list
// in brackets or with commas.
func (s *Settings) override(pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok || name == "" {
		return fmt.Errorf("parse override %s: want name=value", quote(withoutSecrets(pair), 80))
	}
	if strings.Contains(value, ",") && !strings.ContainsAny(value, "[{") {
		value = "[" + value + "]"
	}
	doc, err := flatten([]byte(quoteKey(name) + ": " + value))
	if err != nil {
		return fmt.Errorf("parse override of %s: want a value as in YAML", quote(name, 80))
	}
	for have := range s.at {
		if have == name || strings.HasPrefix(have, name+".") {
			delete(s.at, have)
		}
	}
	for name, e := range doc.at {
		e.line, e.option = 0, true
		s.at[name] = e
	}
	return nil
}

func quoteKey(name string) string { return "'" + strings.ReplaceAll(name, "'", "''") + "'" }

// adoptPolicy takes the output of an Elastic Agent policy ("outputs.default.type:
// logstash"), which the Filebeat that it starts ships to, for the file's own.
func (s *Settings) adoptPolicy() {
	var names []string
	for name, e := range s.at {
		if rest, ok := strings.CutPrefix(name, "outputs."); ok && strings.HasSuffix(rest, ".type") && strings.Count(rest, ".") == 1 && e.text != "" {
			names = append(names, strings.TrimSuffix(rest, ".type"))
		}
		if strings.HasPrefix(name, "output.") {
			return
		}
	}
	if len(names) == 0 {
		return
	}
	slices.SortFunc(names, func(a, b string) int {
		rank := func(n string) string { // Logstash first, then the default one
			return strconv.FormatBool(s.at["outputs."+n+".type"].text != "logstash") + strconv.FormatBool(n != "default") + n
		}
		return strings.Compare(rank(a), rank(b))
	})
	s.policy = names[0]
	from, to := "outputs."+s.policy+".", "output."+s.at["outputs."+s.policy+".type"].text+"."
	for name, e := range maps.Clone(s.at) {
		if rest, ok := strings.CutPrefix(name, from); ok && rest != "type" {
			s.at[to+rest] = e
		}
	}
}

func (s *Settings) read() {
	s.Output = s.output()
	out := "output." + s.Output + "."
	s.Hosts = s.list(out + "hosts")
	s.Timeout = s.duration(out + "timeout")
	s.TTL = s.duration(out + "ttl")
	s.Pipelining = s.integer(out + "pipelining")
	s.Worker = s.integer(out + "worker")
	if s.Worker == nil {
		s.Worker = s.integer(out + "workers")
	}
	s.LoadBalance = s.boolean(out + "loadbalance")
	s.BulkMaxSize = s.integer(out + "bulk_max_size")
	s.MaxRetries = s.integer(out + "max_retries")

	for _, base := range []string{"queue.", out + "queue."} { // the output's own counts, since 8.12
		for _, kind := range []string{"mem", "disk"} {
			if s.below(base + kind) {
				s.QueueType = kind
			}
		}
		if n := s.integer(base + "mem.events"); n != nil {
			s.QueueEvents = n
		}
		if n := s.integer(base + "mem.flush.min_events"); n != nil {
			s.FlushMinEvents = n
		}
	}
	s.HTTPEnabled = s.boolean("http.enabled")
	if e, ok := s.scalar("http.host"); ok {
		s.HTTPHost = e.text
	}
	s.HTTPPort = s.integer("http.port")
	s.Inputs = s.inputs()
}

// output is the output the file enables; Beats takes no more than one.
func (s *Settings) output() string {
	var names []string
	for name := range s.at {
		if rest, ok := strings.CutPrefix(name, "output."); ok {
			kind, _, _ := strings.Cut(rest, ".")
			if on := s.boolean("output." + kind + ".enabled"); or(on, true) && !slices.Contains(outputSettings, kind) {
				names = append(names, kind)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) == 0:
		return ""
	case len(names) > 1:
		s.odd = append(s.odd, Finding{
			Rule: "several-outputs", Level: LevelError, Setting: "output", Value: strings.Join(names, ", "),
			What: "more than one output is enabled: Filebeat does not start", Why: "a Beat has a single output",
			Set: "enabled: false for all but one", Source: "Beats reference, Configure the output",
		})
	}
	if slices.Contains(names, "logstash") {
		return "logstash"
	}
	return names[0]
}

func (s *Settings) inputs() (inputs []Input) {
	for _, base := range []string{"filebeat.inputs.", "filebeat.prospectors."} { // 6.x had prospectors
		first := map[int]int{} // line by index
		for name, e := range s.at {
			if rest, ok := strings.CutPrefix(name, base); ok {
				index, _, _ := strings.Cut(rest, ".")
				if i, err := strconv.Atoi(index); err == nil && (first[i] == 0 || e.line < first[i]) {
					first[i] = e.line
				}
			}
		}
		for _, i := range slices.Sorted(maps.Keys(first)) {
			at := base + strconv.Itoa(i) + "."
			inputs = append(inputs, Input{
				Type:    s.at[at+"type"].text,
				Paths:   s.list(at + "paths"),
				Enabled: or(s.boolean(at+"enabled"), true),
				Line:    first[i],
			})
		}
	}
	return inputs
}
