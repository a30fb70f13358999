package beatstats

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level ranks findings.
type Level string

// The levels of a Finding.
const (
	LevelError   Level = "error"   // the shipper does not start, or can't deliver anything
	LevelWarning Level = "warning" // it behaves otherwise than the setting suggests
	LevelInfo    Level = "info"    // good to know when reading the record
)

// Finding is what one rule says about one setting.
type Finding struct {
	Rule    string `json:"rule"`
	Level   Level  `json:"level"`
	Setting string `json:"setting"`         // full name: "output.logstash.timeout"
	Value   string `json:"value,omitempty"` // as the file has it; a default says so
	What    string `json:"what"`            // what it does
	Why     string `json:"why"`
	Set     string `json:"set,omitempty"` // what to set instead, or to do
	Source  string `json:"source"`        // where that is known from
	Line    int    `json:"line,omitempty"`
}

// Named is the setting with its value, where that is known and no secret:
// "output.logstash.timeout: 0s".
func (f Finding) Named() string {
	if f.Value == "" {
		return f.Setting
	}
	return f.Setting + ": " + f.Value
}

// Environment is what decides together with the settings but is not in the
// file; nil is unknown.
type Environment struct {
	Namespace               string         // whose TCP settings the next ones are: "this network namespace"
	TCPRetries2             *int           // net.ipv4.tcp_retries2, default 15
	KeepaliveTime           *time.Duration // net.ipv4.tcp_keepalive_time, default 2 h
	KeepaliveInterval       *time.Duration // net.ipv4.tcp_keepalive_intvl, default 75 s
	KeepaliveProbes         *int           // net.ipv4.tcp_keepalive_probes, default 9
	ClientInactivityTimeout *time.Duration // of Logstash's beats input, default 60 s
	InactivityFrom          string         // where that is set: "logstash.conf:4"
	EventsPerSecond         *float64       // what the shipper reads
	Version                 string         // of the shipper: "8.12.0"
}

// Lint judges settings on their own.
func Lint(s Settings) []Finding { return LintContext(s, Environment{}) }

// LintContext judges settings where they are used. Errors come first, then
// warnings, each in the order of the file.
func LintContext(s Settings, env Environment) []Finding {
	l := &linter{Settings: s, env: env, found: slices.Clone(s.odd)}
	l.fileRules()
	l.inputRules()
	l.outputRules()
	l.queueRules()
	l.httpRules()
	l.hostRules()
	rank := []Level{LevelError, LevelWarning, LevelInfo}
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(rank, a.Level), slices.Index(rank, b.Level)),
			cmp.Compare(a.Line, b.Line),
		)
	})
	return l.found
}

type linter struct {
	Settings
	env   Environment
	found []Finding
}

// report adds f about setting, with the value and line the file has for it;
// byDefault is the value of a setting that the file leaves out.
func (l *linter) report(setting, byDefault string, f Finding) {
	f.Setting = setting
	if e, ok := l.at[setting]; ok {
		f.Value, f.Line = withoutPassword(e.text), e.line
		if e.option {
			f.Value += " (by -E)"
		}
	} else if byDefault != "" {
		f.Value = byDefault + " (default)"
	}
	l.found = append(l.found, f)
}

// refuses reports a value with which Filebeat does not start.
func (l *linter) refuses(setting, why, set, source string) {
	l.report(setting, "", Finding{
		Rule: "refused", Level: LevelError, What: "Filebeat refuses it and does not start", Why: why, Set: set, Source: source,
	})
}

// openNone reports whether all the settings can be judged.
func (l *linter) openNone(settings ...string) bool {
	known := true
	for _, s := range settings {
		known = !l.open(s) && known
	}
	return known
}

// open reports whether there is no value to judge: Beats refuses it, or only the
// running process knows it, which is said. A variable's default is judged, with
// the remark that the environment has the last word.
func (l *linter) open(setting string) bool {
	if slices.ContainsFunc(l.odd, func(f Finding) bool { return f.Rule == "bad-value" && f.Setting == setting }) {
		return true
	}
	if !strings.Contains(l.at[setting].text, "${") {
		return false
	}
	f := Finding{
		Rule: "not-resolved", Level: LevelInfo,
		What: "the value comes from Filebeat's environment and is not judged",
		Why:  "only the running process knows it", Set: "the value itself, to have it judged",
		Source: "Beats reference, Use environment variables in the configuration",
	}
	e, known := l.scalar(setting)
	if known {
		f.What = fmt.Sprintf("judged by its default, %s: the variable in Filebeat's environment decides", e.text)
	}
	l.report(setting, "", f)
	return !known
}

// span prints a duration without its zero parts: 24h, 15m24s.
func span(d time.Duration) string {
	s := d.Round(time.Second).String()
	if d < time.Minute {
		return d.String()
	}
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
