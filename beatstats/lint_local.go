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
			What: "`paths:` stands beside `- type:`, not in it: the input has no paths, and Filebeat does not start",
			Why:  "at this indent it is a setting of its own, which Filebeat does not know",
			Set:  "two more spaces before paths: and what belongs to it", Source: "measured on Filebeat 7.17.29; Filebeat reference, Configure inputs",
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
			What: "the input has no paths: Filebeat does not start",
			Why:  fmt.Sprintf("an input of type %q reads files", in.Type), Set: "paths, a list of globs",
			Source: "measured on Filebeat 7.17.29; Filebeat reference, Configure inputs",
		})
	}
	l.noInputs()
}

// noInputs says where a file without inputs may have them, or that it has none.
// Other Beats, and Elastic Agent, have none by that name.
func (l *linter) noInputs() {
	if slices.ContainsFunc(l.Inputs, func(in Input) bool { return in.Enabled }) || l.policy != "" || !l.Settings.below("filebeat") && l.Output == "" {
		return
	}
	for _, name := range []string{"filebeat.config", "filebeat.modules", "filebeat.autodiscover"} {
		if l.Settings.below(name) {
			l.found = append(l.found, Finding{
				Rule: "inputs-elsewhere", Level: LevelInfo, Setting: name, What: "the inputs are not in this file and are not judged",
				Why: "they come from modules, from other files or from what runs on the host", Set: "nothing",
				Source: "Filebeat reference, Configure modules; Load external configuration files; Autodiscover",
			})
			return
		}
	}
	for _, beat := range []string{"metricbeat", "packetbeat", "heartbeat", "auditbeat", "winlogbeat", "apm-server"} {
		if l.Settings.below(beat) {
			return
		}
	}
	l.report("filebeat.inputs", "", Finding{
		Rule: "no-inputs", Level: LevelWarning, What: "no input is enabled here: with this file alone Filebeat does not start",
		Why: "it has nothing to watch", Set: "filebeat.inputs, modules, or filebeat.config.inputs.path",
		Source: "measured on Filebeat 7.17.29; elastic/beats filebeat/beater/filebeat.go",
	})
}

// before reports whether a release is known and older than major.minor.
func before(version string, major, minor int) bool {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return err == nil && (x < major || x == major && y < minor)
}

// defaultQueueEvents of a release: 4096, and 3200 since 8.11.
func defaultQueueEvents(version string) int {
	if before(version, 8, 11) {
		return 4096
	}
	return 3200
}

// leastQueueEvents is what memqueue validates.
const leastQueueEvents = 32

// defaultFlushMinEvents of a release: 2048, and 1600 since 8.11.
func defaultFlushMinEvents(version string) int {
	if before(version, 8, 11) {
		return 2048
	}
	return 1600
}

func (l *linter) queueRules() {
	const source = "measured on Filebeat 7.17.29; elastic/beats libbeat/publisher/queue/memqueue/config.go"
	if l.Settings.below("queue.mem") && l.Settings.below("queue.disk") {
		l.refuses("queue.disk", "a Beat has a single queue", "queue.mem or queue.disk", source)
		return
	}
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
	if capacity < leastQueueEvents {
		l.refuses(name, fmt.Sprintf("it is validated to be %d or more", leastQueueEvents), "queue.mem.events: 4096", source)
		return
	}
	if least := or(l.FlushMinEvents, defaultFlushMinEvents(l.env.Version)); least > capacity {
		l.report(name, "", Finding{
			Rule: "queue-flush", Level: LevelError, What: "Filebeat does not start: the queue is smaller than what is waited for to make a batch",
			Why: fmt.Sprintf("queue.mem.flush.min_events is %d, also where the file does not say so", least), Set: "queue.mem.flush.min_events below queue.mem.events",
			Source: source,
		})
		return
	}
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
	if l.policy != "" { // the agent chooses
		return
	}
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
