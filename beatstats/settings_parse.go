package beatstats

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxSettingsFile is far above any real one, in bytes.
const maxSettingsFile = 1 << 20

// ParseSettings reads a filebeat.yml, whether its names are nested or flat
// ("output.logstash.timeout: 24h"), with values as Beats reads them: a bare
// number is seconds where a duration is wanted. A value Beats would refuse,
// and one mis-indented block, are kept for Lint to report; any other file that
// is no YAML is an error that quotes its line.
func ParseSettings(r io.Reader) (Settings, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxSettingsFile+1))
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	if len(src) > maxSettingsFile {
		return Settings{}, fmt.Errorf("read settings: more than %d bytes", maxSettingsFile)
	}
	s := Settings{}
	at, again, err := flatten(src)
	if err != nil {
		mended, misplaced, ok := mendIndent(src)
		if !ok {
			return Settings{}, err
		}
		var still error
		if at, again, still = flatten(mended); still != nil {
			return Settings{}, err
		}
		s.odd = append(s.odd, misindented(misplaced))
	}
	s.at = at
	for _, name := range again {
		s.odd = append(s.odd, Finding{
			Rule: "given-twice", Level: LevelWarning, Setting: name, Line: at[name].line, // no Value: it may be a password
			What: "the setting is given more than once; this, the last, is taken to count",
			Why:  "YAML forbids it, and which one counts depends on the Beat's release",
			Set:  "one of them", Source: "YAML 1.2.2, section 3.2.1.3",
		})
	}
	s.read()
	return s, nil
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
	}
	s.HTTPEnabled = s.boolean("http.enabled")
	s.HTTPHost = s.at["http.host"].text
	s.HTTPPort = s.integer("http.port")
	s.Inputs = s.inputs()
}

// output is the output the file enables; Beats takes no more than one.
func (s *Settings) output() string {
	var names []string
	for name := range s.at {
		if rest, ok := strings.CutPrefix(name, "output."); ok {
			kind, _, _ := strings.Cut(rest, ".")
			if on := s.boolean("output." + kind + ".enabled"); or(on, true) {
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
