package beatstats

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (l *linter) inputRules() {
	for _, name := range []string{"paths", "filebeat.paths"} {
		items := l.list(name)
		if len(items) == 0 {
			continue
		}
		l.found = append(l.found, Finding{
			Rule: "misindented", Level: LevelError, Setting: name, Value: strings.Join(items, ", "),
			Line: max(l.at[name].line, l.at[name+".0"].line),
			What: "`paths:` stands beside `- type:`, not in it: the input has no paths and reads nothing",
			Why:  "at this indent it is a setting of its own, which Filebeat does not know",
			Set:  "two more spaces before paths: and what belongs to it", Source: "Filebeat reference, Configure inputs",
		})
	}
	if slices.ContainsFunc(l.found, func(f Finding) bool { return f.Rule == "misindented" }) {
		return // that is why the input has no paths
	}
	for i, in := range l.Inputs {
		if len(in.Paths) > 0 || !in.Enabled || !slices.Contains([]string{"", "log", "filestream", "container"}, in.Type) {
			continue
		}
		l.found = append(l.found, Finding{
			Rule: "no-paths", Level: LevelError, Setting: fmt.Sprintf("filebeat.inputs.%d.paths", i), Line: in.Line,
			What: "the input has no paths: Filebeat does not start, or reads nothing",
			Why:  fmt.Sprintf("an input of type %q reads files", in.Type), Set: "paths, a list of globs",
			Source: "Filebeat reference, Configure inputs",
		})
	}
}

// defaultQueueEvents of a release: 4096, and 3200 since 8.11.
func defaultQueueEvents(version string) int {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	if err == nil && (a < 8 || a == 8 && b < 11) {
		return 4096
	}
	return 3200
}

func (l *linter) queueRules() {
	if l.QueueType == "disk" {
		l.report("queue.disk", "", Finding{
			Rule: "queue-disk", Level: LevelInfo,
			What: "the queue is bounded in bytes, and outlives a restart with what it holds",
			Why:  "max_events is 0 for it, and its gauges can fall below zero", Set: "nothing",
			Source: "elastic/beats#52666; Filebeat reference, Configure the internal queue",
		})
		return
	}
	name := "queue.mem.events"
	if _, ok := l.at["output."+l.Output+"."+name]; ok {
		name = "output." + l.Output + "." + name
	}
	if l.open(name) {
		return
	}
	capacity := or(l.QueueEvents, defaultQueueEvents(l.env.Version))
	f := Finding{
		Rule: "queue-bound", Level: LevelInfo,
		What: fmt.Sprintf("the depth grows to %d events and then stays level; Filebeat stops reading its files", capacity),
		Why:  "a full memory queue takes no event until the output confirms some", Set: "nothing; a level depth at this limit is a stall too",
		Source: "elastic/beats#39463; Filebeat reference, Configure the internal queue",
	}
	if rate := l.env.EventsPerSecond; rate != nil && *rate > 0 {
		f.Rule = "queue-fills"
		f.What = fmt.Sprintf("at %g events a second the queue of %d is full %s after the last confirmation, and the depth stays level from then on",
			*rate, capacity, span(min(time.Duration(float64(capacity) / *rate * float64(time.Second)), 1000*time.Hour)))
	}
	l.report(name, strconv.Itoa(defaultQueueEvents(l.env.Version)), f)
}

func (l *linter) httpRules() {
	const source = "Filebeat reference, Configure an HTTP endpoint for metrics; elastic/beats libbeat/api/config.go"
	if l.open("http.enabled") || l.open("http.host") || l.open("http.port") {
		return
	}
	if strings.HasPrefix(l.HTTPHost, "npipe:") {
		l.report("http.host", "", Finding{
			Rule: "http-npipe", Level: LevelError, What: "Filebeat does not start on Linux", Why: "named pipes are Windows'",
			Set: "http.host: localhost, or unix:///path.sock", Source: "elastic/beats libbeat/api/make_listener_posix.go",
		})
		return
	}
	at, on := l.Endpoint()
	if !on {
		l.report("http.enabled", "false", Finding{
			Rule: "http-off", Level: LevelWarning,
			What: "no counters can be read: neither acknowledged events nor the depth of the queue",
			Why:  `what is left is the log line "Non-zero metrics in the last 30s", with differences instead of counts`,
			Set:  "http.enabled: true", Source: source,
		})
		return
	}
	l.report("http.host", defaultHTTPHost, Finding{
		Rule: "http-address", Level: LevelInfo, What: "the counters are at " + at + ", seen from inside Filebeat's network namespace",
		Why: "a container's localhost is its own", Set: "nothing", Source: source,
	})
	ip := net.ParseIP(l.HTTPHost)
	if l.HTTPHost == "" || l.HTTPHost == "localhost" || strings.HasPrefix(at, "unix:") || ip != nil && ip.IsLoopback() {
		return
	}
	l.report("http.host", "", Finding{
		Rule: "http-exposed", Level: LevelWarning,
		What: "whoever reaches the port can read the counters, and profiles where http.pprof.enabled is set",
		Why:  "there is no authentication; a recorder inside the namespace does not need it open", Set: "http.host: localhost",
		Source: source,
	})
}
