package beatstats

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// BeatsInput is a beats input of a Logstash pipeline. What the file does not set,
// or sets to something only known at run time, is nil.
type BeatsInput struct {
	Port *int `json:"port,omitempty"`
	// Inactivity is client_inactivity_timeout, default 60 s; 0 is never.
	Inactivity *time.Duration `json:"client_inactivity_timeout_ns,omitempty"`
	Line       int            `json:"line"` // of that setting, else of the input

	values map[string]word
}

// PipelineConfig is what a Logstash configuration says of its beats inputs.
type PipelineConfig struct {
	Beats []BeatsInput `json:"beats,omitempty"`

	odd []Finding
}

// defaultInactivity is that of logstash-input-beats, lib/logstash/inputs/beats.rb.
const defaultInactivity = 60 * time.Second

// read takes the values of the input from its attributes.
func (b *BeatsInput) read() (odd []Finding) {
	number := func(name, want string) *float64 {
		w, ok := b.values[name]
		if m := variable.FindStringSubmatch(w.text); m != nil {
			w.text = strings.TrimPrefix(m[2], "?")
		}
		if !ok || strings.Contains(w.text, "${") || w.text == "" {
			return nil
		}
		f, err := strconv.ParseFloat(w.text, 64)
		if err != nil || !(f >= 0 && f < 1e9) {
			odd = append(odd, Finding{
				Rule: "bad-value", Level: LevelError, Setting: "beats." + name, Value: w.text, Line: w.line,
				What: "Logstash refuses this value and does not start the pipeline", Why: "it wants " + want,
				Set: "a number", Source: beatsInputSource,
			})
			return nil
		}
		return &f
	}
	if f := number("port", "a port"); f != nil {
		port := int(*f)
		b.Port = &port
	}
	if f := number("client_inactivity_timeout", "a number of seconds"); f != nil {
		d := time.Duration(*f * float64(time.Second))
		b.Inactivity = &d
	}
	if w, ok := b.values["client_inactivity_timeout"]; ok {
		b.Line = w.line
	}
	return odd
}

// Timeout is after how long Logstash closes a client on whose connection nothing
// passes; 0 is never.
func (b BeatsInput) Timeout() time.Duration { return or(b.Inactivity, defaultInactivity) }

// For is the input that a shipper with these settings connects to: the one on a
// port that its hosts name, and where none is, the least patient one.
func (p PipelineConfig) For(s Settings) (in BeatsInput, ok bool) {
	ports := s.ports()
	matches := func(b BeatsInput) bool { return b.Port != nil && ports[*b.Port] }
	for _, b := range p.Beats {
		switch {
		case !ok, matches(b) && !matches(in):
			in, ok = b, true
		case matches(in) && !matches(b):
		case b.Timeout() > 0 && (in.Timeout() == 0 || b.Timeout() < in.Timeout()):
			in = b
		}
	}
	return in, ok
}

// ports are those of the hosts, 5044 where a host names none.
func (s Settings) ports() map[int]bool {
	ports := map[int]bool{}
	for _, host := range s.Hosts {
		port := 5044
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			if n, err := strconv.Atoi(host[i+1:]); err == nil {
				port = n
			}
		}
		ports[port] = true
	}
	return ports
}

const beatsInputSource = "logstash-plugins/logstash-input-beats lib/logstash/inputs/beats.rb"

// LintPipeline judges the beats inputs of a pipeline on their own; what they mean
// for a shipper, LintContext says.
func LintPipeline(p PipelineConfig) []Finding {
	found := p.odd
	for _, b := range p.Beats {
		f := Finding{
			Rule: "inactivity", Level: LevelInfo, Setting: "beats.client_inactivity_timeout", Line: b.Line,
			Value:  strconv.FormatFloat(b.Timeout().Seconds(), 'f', -1, 64),
			What:   fmt.Sprintf("Logstash closes a connection on which nothing has passed for %s, with RST", span(b.Timeout())),
			Why:    "of a half-open connection only the shipper's half is left then: that pair of readings proves it",
			Set:    "nothing; more than the shipper's timeout, if sound but idle connections are to be kept",
			Source: beatsInputSource + "; src/main/java/org/logstash/beats/Server.java",
		}
		switch {
		case b.Timeout() == 0:
			f.Rule, f.Level = "inactivity-off", LevelWarning
			f.What, f.Why = "Logstash never closes a silent client: connections that are gone at the other end pile up", "0 switches the idle handler off"
			f.Set = "client_inactivity_timeout => 60"
		case b.Inactivity == nil:
			f.Value += " (default)"
		}
		found = append(found, f)
	}
	if len(p.Beats) == 0 {
		found = append(found, Finding{
			Rule: "no-beats-input", Level: LevelWarning, Setting: "input", What: "no beats input is in this file: no Filebeat can ship to it",
			Why: "Filebeat speaks Lumberjack, which only that input takes", Set: "input { beats { port => 5044 } }", Source: beatsInputSource,
		})
	}
	return found
}
