package beatstats

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What Beats knows below a block: libbeat/outputs/logstash/config.go,
// libbeat/outputs/hosts.go, libbeat/publisher/queue/memqueue/config.go,
// libbeat/api/config.go, releases 6 to 9 together.
var (
	outputSettings = []string{
		"hosts", "worker", "workers", "loadbalance", "timeout", "ttl", "pipelining", "bulk_max_size", "max_retries",
		"slow_start", "compression_level", "escape_html", "index", "proxy_url", "proxy_use_local_resolver", "backoff",
	}
	knownBelow = []block{
		{"output.logstash", append([]string{"enabled", "ssl", "queue", "port"}, outputSettings...)},
		{"queue.mem", []string{"events", "flush"}},
		{"http", []string{"enabled", "host", "port", "named_pipe", "pprof"}},
	}
)

// block is a part of a settings file with the names that may stand in it.
type block struct {
	name  string
	known []string
}

// oddities are what the YAML reads otherwise than it looks.
func (d document) oddities() (found []Finding) {
	for _, s := range d.again {
		f := Finding{
			Rule: "given-twice", Level: LevelWarning, Setting: s.name, Line: s.line, // no Value: it may be a password
			What: "the setting is given more than once; this, the last, is taken to count",
			Why:  "YAML forbids it, and which one counts depends on the Beat's release",
			Set:  "one of them", Source: "measured on Filebeat 7.17.29; YAML 1.2.2, section 3.2.1.3",
		}
		if _, scalar := d.at[s.name]; !scalar {
			f.What = "the block is given more than once: of all but this, the last, nothing is read"
		}
		found = append(found, f)
	}
	for _, s := range d.clash {
		found = append(found, Finding{
			Rule: "given-two-ways", Level: LevelError, Setting: s.name, Line: s.line,
			What: "the setting is given both nested and with dots: Filebeat does not start (duplicate key)",
			Why:  "it joins the two notations, and takes no name twice", Set: "one of them",
			Source: "measured on Filebeat 7.17.29; elastic/go-ucfg",
		})
	}
	if d.more > 0 {
		found = append(found, Finding{
			Rule: "more-documents", Level: LevelWarning, Setting: "---",
			What: fmt.Sprintf("%d more behind a line of --- are not read", d.more), Why: "Filebeat reads the first document of a file only",
			Set: "one document", Source: "measured on Filebeat 7.17.29; gopkg.in/yaml.v2, Unmarshal",
		})
	}
	return found
}

// fileRules find what stands where Filebeat does not look for it, or under a name
// it does not know. Such a setting is passed over in silence.
func (l *linter) fileRules() {
	if l.policy != "" {
		l.report("outputs."+l.policy+".type", "", Finding{
			Rule: "agent-policy", Level: LevelInfo,
			What: "this is a policy of Elastic Agent: its output " + l.policy + " is judged as output." + l.Output,
			Why:  "the agent starts Filebeat with these settings, and with more that no file shows", Set: "nothing",
			Source: "Elastic Agent reference, Configure the Logstash output",
		})
	}
	l.strays("", "output.logstash", outputSettings)
	l.strays("output.", "output.logstash", outputSettings)
	names := slices.Sorted(maps.Keys(l.at))
	for _, b := range knownBelow {
		if l.policy == "" || b.name == "queue.mem" {
			l.unknown(b, names)
		}
	}
	for _, name := range numbers {
		if e := l.at[name]; e.plain && octal.MatchString(e.text) {
			l.report(name, "", Finding{
				Rule: "octal", Level: LevelWarning, What: "a number that begins with 0 is read to the base 8: " + octalValue(l.at[name]),
				Why: "Beats reads YAML 1.1", Set: "the number without the 0 before it", Source: "measured on Filebeat 7.17.29; gopkg.in/yaml.v2 resolve.go",
			})
		}
	}
	for i, host := range l.Hosts {
		if l.Output == "logstash" && strings.ContainsAny(host, ", ") && !strings.Contains(host, "${") {
			name := "output.logstash.hosts"
			if _, single := l.at[name]; !single {
				name = fmt.Sprintf("%s.%d", name, i)
			}
			l.report(name, "", Finding{
				Rule: "hosts-in-one", Level: LevelError, What: "this is one host with a comma or a space in its name: no connection can be made to it",
				Why: "hosts is a list, and Filebeat does not split its entries", Set: `hosts: ["a:5044", "b:5044"]`, Source: measuredConfig,
			})
		}
	}
}

var octal = regexp.MustCompile(`^[-+]?0[0-7]+$`)

func octalValue(e entry) string {
	f, _ := e.float()
	return fmt.Sprintf("%s is %g", e.text, f)
}

// numbers are the settings that a rule reads a number of.
var numbers = []string{
	"output.logstash.timeout", "output.logstash.ttl", "output.logstash.pipelining", "output.logstash.worker", "output.logstash.workers",
	"output.logstash.bulk_max_size", "output.logstash.max_retries", "queue.mem.events", "queue.mem.flush.min_events", "http.port",
}

// strays finds settings that stand beside the block they belong to: they have lost
// their indent.
func (l *linter) strays(at, block string, settings []string) {
	for _, key := range settings {
		name := at + key
		e, ok := l.at[name]
		if !ok {
			if e, ok = l.at[name+".0"]; !ok {
				continue
			}
		}
		f := Finding{
			Rule: "misplaced", Level: LevelWarning, Setting: name, Value: withoutPassword(e.text), Line: e.line,
			What: fmt.Sprintf("`%s:` stands beside `%s:`, not below it: Filebeat does not read it", key, block),
			Why:  "at this indent it is a setting of its own, which Filebeat does not know", Set: "it below " + block + ":, indented",
			Source: measuredConfig,
		}
		if at != "" || len(l.list(block+".hosts")) == 0 {
			f.Level, f.What = LevelError, fmt.Sprintf("`%s:` stands beside `%s:`, not below it: Filebeat does not start", key, block)
		}
		l.found = append(l.found, f)
	}
}

// unknown finds names below a block that no release knows.
func (l *linter) unknown(b block, names []string) {
	seen := map[string]bool{}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, b.name+".")
		key, _, _ := strings.Cut(rest, ".")
		if !ok || seen[key] || slices.Contains(b.known, key) {
			continue
		}
		seen[key] = true
		f := Finding{
			Rule: "unknown-setting", Level: LevelWarning, Setting: b.name + "." + key, Line: l.at[name].line, // no Value: it may be a secret
			What: "Filebeat knows no such setting and passes over it in silence", Why: "what it was to change stays as it is by default",
			Set: "one of " + strings.Join(b.known, ", "), Source: measuredConfig,
		}
		if near := nearest(key, b.known); near != "" {
			f.Set = near + ", if that was meant"
		}
		l.found = append(l.found, f)
	}
}

// nearest is the known name that differs from key by the fewest letters, at most
// two, or only by its punctuation.
func nearest(key string, known []string) (near string) {
	least := 3
	letters := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	for _, k := range known {
		if d := distance(letters(key), letters(k)); d < least && d < len(k)/2 {
			near, least = k, d
		}
	}
	return near
}

// distance is how many letters must be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
