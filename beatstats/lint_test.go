package beatstats

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sound is a file the lint has no complaint about.
const sound = `
filebeat.inputs:
- type: filestream
  paths: [/logs/*.log]
output.logstash:
  hosts: [router:5044]
http.enabled: true
`

// rules gives "level rule setting=value:line" of each finding.
func rules(findings []Finding) (all []string) {
	for _, f := range findings {
		all = append(all, fmt.Sprintf("%s %s %s=%s:%d", f.Level, f.Rule, f.Setting, f.Value, f.Line))
	}
	return all
}

func TestLintOfTheGuide(t *testing.T) {
	want := []string{
		"error misindented filebeat.inputs=paths::3",
		"error timeout-zero output.logstash.timeout=0s:10",
		"warning http-exposed http.host=0.0.0.0:21",
		"info queue-bound queue.mem.events=4096:16",
		"info http-address http.host=0.0.0.0:21",
	}
	have := Lint(settings(t, string(fixture(t, "filebeat-guide.yml"))))
	if d := cmp.Diff(want, rules(have)); d != "" {
		t.Error(d)
	}
}

func TestLint(t *testing.T) {
	quiet := []string{"info timeout-recovers", "info queue-bound", "info http-address"}
	tests := []struct {
		name, text string
		want       []string // beyond what a sound file gets
		without    string   // what of that it does not get
		says       string   // in one of the findings
	}{
		{"sound", sound, nil, "", "Filebeat drops a silent connection 30s after"},
		{"a day", sound + "output.logstash.timeout: 24h\n", []string{"warning timeout-beyond-kernel output.logstash.timeout=24h:8"}, "timeout-recovers", "the kernel does, after 15m25s or a little more"},
		{"a little less than the kernel", sound + "output.logstash.timeout: 924\n", nil, "", "drops a silent connection 15m24s after"},
		{"the kernel's own", sound + "output.logstash.timeout: 925\n", []string{"warning timeout-beyond-kernel output.logstash.timeout=925:8"}, "timeout-recovers", ""},
		{"zero", sound + "output.logstash.timeout: 0\n", []string{"error timeout-zero output.logstash.timeout=0:8"}, "timeout-recovers", "nothing is ever acknowledged"},
		{"below zero", sound + "output.logstash.timeout: -1s\n", []string{"error timeout-negative output.logstash.timeout=-1s:8"}, "timeout-recovers", ""},
		{"a string of seconds", sound + "output.logstash.timeout: '30'\n", []string{"error bad-value output.logstash.timeout=30:8"}, "timeout-recovers", ""},
		{"from the environment", sound + "output.logstash.timeout: ${T}\n", []string{"info not-resolved output.logstash.timeout=${T}:8"}, "timeout-recovers", "not judged"},
		{"an environment that must be set", sound + "output.logstash.timeout: ${T:?set T}\n", []string{"info not-resolved output.logstash.timeout=${T:?set T}:8"}, "timeout-recovers", "not judged"},
		{"part of it from the environment", sound + "output.logstash.timeout: ${T}s\n", []string{"info not-resolved output.logstash.timeout=${T}s:8"}, "timeout-recovers", "not judged"},
		{"a default for the environment", sound + "output.logstash.timeout: ${T:0s}\n", []string{"info not-resolved output.logstash.timeout=${T:0s}:8", "error timeout-zero output.logstash.timeout=${T:0s}:8"}, "timeout-recovers", "by its default, 0s"},
		{"a default that Beats refuses", sound + "output.logstash.timeout: ${T:30}\n", []string{"error bad-value output.logstash.timeout=30:8"}, "timeout-recovers", ""},

		{"ttl", sound + "output.logstash.ttl: 60s\n", []string{"warning ttl-ignored output.logstash.ttl=60s:8"}, "", "pipelining is 2"},
		{"ttl that works", sound + "output.logstash.ttl: 60s\noutput.logstash.pipelining: 0\n", nil, "", ""},
		{"ttl below zero", sound + "output.logstash.ttl: -1s\n", []string{"error refused output.logstash.ttl=-1s:8"}, "", ""},
		{"no ttl", sound + "output.logstash.ttl: 0\n", nil, "", ""},

		{"workers", sound + "output.logstash.worker: 4\n", []string{"warning worker-ignored output.logstash.worker=4:8"}, "", "one connection is made, not 4"},
		{"workers, the other name", sound + "output.logstash.workers: 4\n", []string{"warning worker-ignored output.logstash.workers=4:8"}, "", ""},
		{"balanced workers", sound + "output.logstash.worker: 4\noutput.logstash.loadbalance: true\n", []string{"info shared-queue output.logstash.loadbalance=true:9"}, "", "4 connections, 4 to each of 1 hosts, share one queue, up to 16384 events in flight"},
		{"balanced alone", sound + "output.logstash.loadbalance: true\n", []string{"info loadbalance-ignored output.logstash.loadbalance=true:8"}, "", ""},
		{"failover", strings.Replace(sound, "router:5044", "a, b, c", 1), []string{"info one-host-at-a-time output.logstash.loadbalance=false (default):0"}, "", "one of 3 hosts"},
		{"retries", sound + "output.logstash.max_retries: 3\n", []string{"info max-retries-ignored output.logstash.max_retries=3:8"}, "", ""},

		{"http off", strings.Replace(sound, "enabled: true", "enabled: false", 1), []string{"warning http-off http.enabled=false:7"}, "http-address", "Non-zero metrics"},
		{"no http", strings.Replace(sound, "http.enabled: true", "", 1), []string{"warning http-off http.enabled=false (default):0"}, "http-address", ""},
		{"http on a socket", sound + "http.host: unix:///run/f.sock\n", nil, "", "at unix:///run/f.sock"},
		{"http open", sound + "http.host: 10.0.0.7\n", []string{"warning http-exposed http.host=10.0.0.7:8"}, "", "http://10.0.0.7:5066"},
		{"a pipe", sound + "http.host: npipe:///filebeat\n", []string{"error http-npipe http.host=npipe:///filebeat:8"}, "http-address", ""},

		{"no number", sound + "output.logstash.worker: many\noutput.logstash.loadbalance: perhaps\n", []string{"error bad-value output.logstash.worker=many:8", "error bad-value output.logstash.loadbalance=perhaps:9"}, "", "a whole number"},
		{"the output's own queue", sound + "output.logstash.queue.mem: {events: 64, flush.min_events: 1}\n", nil, "", "the depth grows to 64 events"},
		{"a queue from the environment", sound + "queue.mem.events: ${N}\n", []string{"info not-resolved queue.mem.events=${N}:8"}, "queue-bound", ""},
		{"http from the environment", sound + "http.port: ${PORT}\n", []string{"info not-resolved http.port=${PORT}:8"}, "http-address", ""},

		{"disk queue", sound + "queue.disk.max_size: 1GB\n", []string{"info queue-disk queue.disk"}, "queue-bound", ""},
		{"no input paths", strings.Replace(sound, "  paths: [/logs/*.log]", "  id: a", 1), []string{"error no-paths filebeat.inputs.0.paths=:3"}, "", ""},
		{"an input that is off", strings.Replace(sound, "  paths: [/logs/*.log]", "  enabled: false", 1), []string{"warning no-inputs filebeat.inputs=:0"}, "", ""},
		{"an input without files", strings.Replace(sound, "filestream\n  paths: [/logs/*.log]", "tcp", 1), nil, "", ""},
		{"paths at the edge", "filebeat.inputs:\n- type: log\npaths:\n  - /logs/*.log\n" + sound[strings.Index(sound, "output"):], []string{"error misindented paths=/logs/*.log:4"}, "", "the input has no paths"},
		{"paths beside the list", "filebeat:\n  inputs:\n  - type: log\n  paths: [/logs/*.log]\n" + sound[strings.Index(sound, "output"):], []string{"error misindented filebeat.paths=/logs/*.log:4"}, "", ""},

		{"another output", "output.console.pretty: true\nhttp.enabled: true\n", []string{"warning no-logstash-output output.logstash", "warning no-inputs filebeat.inputs"}, "timeout-recovers", ""},
		{"fewer than a worker", sound + "output.logstash.worker: 0\n", []string{"error refused output.logstash.worker=0:8"}, "", "1 or more"},
		{"below no batch", sound + "output.logstash.pipelining: -1\n", []string{"error refused output.logstash.pipelining=-1:8"}, "", "0 or more"},
		{"no hosts", strings.Replace(sound, "hosts: [router:5044]", "timeout: 30s", 1), []string{"error refused output.logstash.hosts=:0"}, "", "where to"},
		{"hosts in one string", strings.Replace(sound, "[router:5044]", "a:5044, b:5044", 1), []string{"error hosts-in-one output.logstash.hosts=a:5044, b:5044:6"}, "", "one host with a comma"},
		{"hosts in one entry", strings.Replace(sound, "[router:5044]", "['a:5044,b:5044']", 1), []string{"error hosts-in-one output.logstash.hosts.0=a:5044,b:5044:6"}, "", ""},

		{"a queue too small", sound + "queue.mem: {events: 16, flush.min_events: 1}\n", []string{"error refused queue.mem.events=16:8"}, "queue-bound", "32 or more"},
		{"a queue below a batch", sound + "queue.mem.events: 1000\n", []string{"error queue-flush queue.mem.events=1000:8"}, "queue-bound", "flush.min_events is 1600"},
		{"two queues", sound + "queue.mem.events: 4096\nqueue.disk.max_size: 1GB\n", []string{"error refused queue.disk"}, "queue-bound", "a single queue"},

		{"the indent of all is lost", strings.Replace(sound, "  hosts", "hosts", 1), []string{"error misplaced hosts=router:5044:6", "warning no-logstash-output output.logstash"}, "timeout-recovers", "does not start"},
		{"the indent of one is lost", sound + "timeout: 24h\n", []string{"warning misplaced timeout=24h:8"}, "", "stands beside `output.logstash:`"},
		{"indented too little", strings.Replace(sound, "output.logstash:\n", "output:\n  logstash:\n", 1), []string{"error misplaced output.hosts=router:5044:7", "warning no-logstash-output output.logstash"}, "timeout-recovers", "does not start"},
		{"a name misspelt", sound + "output.logstash.time_out: 24h\n", []string{"warning unknown-setting output.logstash.time_out=:8"}, "", "passes over it"},
		{"a queue misspelt", sound + "queue.mem.event: 4096\n", []string{"warning unknown-setting queue.mem.event=:8"}, "", "passes over it"},
		{"a number to the base 8", sound + "output.logstash.timeout: 030\n", []string{"warning octal output.logstash.timeout=030:8"}, "", "030 is 24"},
		{"a block given twice", sound + "output.logstash:\n  timeout: 24h\n", []string{
			"error refused output.logstash.hosts", "warning given-twice output.logstash=:8", "warning timeout-beyond-kernel",
		}, "timeout-recovers", "of all but this, the last, nothing is read"},
		{"given twice", strings.Replace(sound, "output.logstash:\n", "output.logstash:\n  timeout: 0s\n  timeout: 20s\n", 1), []string{"warning given-twice output.logstash.timeout=:7"}, "", "20s after"},
		{"given in two notations", sound + "output.logstash.timeout: 9s\noutput: {logstash: {timeout: 20s}}\n", []string{"error given-two-ways output.logstash.timeout=:9"}, "", "duplicate key"},
		{"over what was merged", "x: &x {timeout: 24h}\n" + strings.Replace(sound, "output.logstash:\n", "output.logstash:\n  <<: *x\n  timeout: 20s\n", 1), nil, "", "20s after"},
		{"merged over it", "x: &x {timeout: 20s}\n" + strings.Replace(sound, "output.logstash:\n", "output.logstash:\n  timeout: 24h\n  <<: *x\n", 1), []string{"warning given-twice output.logstash.timeout=:1"}, "", "20s after"},
		{"two documents", sound + "---\noutput.logstash.timeout: 0s\n", []string{"warning more-documents ---"}, "", "1 more behind"},

		{"modules", "filebeat.config.modules.path: modules.d/*.yml\n" + sound[strings.Index(sound, "output"):], []string{"info inputs-elsewhere filebeat.config"}, "", ""},
		{"autodiscover", "filebeat.autodiscover.providers: [{type: docker}]\n" + sound[strings.Index(sound, "output"):], []string{"info inputs-elsewhere filebeat.autodiscover"}, "", ""},
		{"no inputs", sound[strings.Index(sound, "output"):], []string{"warning no-inputs filebeat.inputs"}, "", "nothing to watch"},
		{"a metricbeat", "metricbeat.modules: [{module: system}]\n" + sound[strings.Index(sound, "output"):], nil, "", ""},
		{"two outputs", sound + "output.console.pretty: true\n", []string{"error several-outputs output=console, logstash:0"}, "", ""},
		{"one of them off", sound + "output.console.enabled: false\n", nil, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			findings := Lint(settings(t, tt.text))
			have := rules(findings)
			for _, w := range append(slices.Clone(quiet), tt.want...) {
				i := slices.IndexFunc(have, func(h string) bool { return strings.HasPrefix(h, w) })
				if strings.HasSuffix(w, " "+tt.without) {
					if i >= 0 {
						t.Errorf("%s, not expected", have[i])
					}
					continue
				}
				if i < 0 {
					t.Errorf("no %q in %q", w, have)
					continue
				}
				have = slices.Delete(have, i, i+1)
			}
			if len(have) > 0 {
				t.Errorf("too many: %q", have)
			}
			if !slices.ContainsFunc(findings, func(f Finding) bool { return strings.Contains(f.What+f.Why, tt.says) }) {
				t.Errorf("nothing says %q: %+v", tt.says, findings)
			}
		})
	}
}

func TestLintContext(t *testing.T) {
	tests := []struct {
		name, text string
		env        Environment
		rule, says string // rule "" expects none of the name in says
	}{
		{"fewer retries", sound, Environment{TCPRetries2: new(5)}, "timeout-beyond-kernel", "after 12.6s"},
		{"more retries", sound + "output.logstash.timeout: 20m\n", Environment{TCPRetries2: new(20)}, "timeout-recovers", "20m after"},
		{"impatient logstash", sound + "output.logstash.timeout: 24h\n", Environment{ClientInactivityTimeout: new(time.Minute)}, "inactivity-before-timeout", "after 1m, Filebeat holds on for 24h"},
		{"patient logstash", sound, Environment{ClientInactivityTimeout: new(time.Minute)}, "", "inactivity-before-timeout"},
		{"logstash without a limit", sound + "output.logstash.timeout: 24h\n", Environment{ClientInactivityTimeout: new(time.Duration(0))}, "", "inactivity-before-timeout"},
		{"probes", sound, Environment{KeepaliveProbes: new(9), Namespace: "process 7"}, "idle-keepalive", "about 2m30s (process 7)"},
		{"probes of others", sound, Environment{KeepaliveProbes: new(9), KeepaliveTime: new(2 * time.Hour), KeepaliveInterval: new(75 * time.Second)}, "idle-keepalive", "2m30s"},
		{"kernel", sound, Environment{TCPRetries2: new(15), Namespace: "process 7"}, "kernel-gives-up", "the kernel ends a connection whose data nobody acknowledges 15m25s or a little more after the first retransmission (process 7)"},
		{"impatient kernel", sound, Environment{TCPRetries2: new(7)}, "kernel-gives-up-early", "51s or a little more"},
		{"rate", sound + "queue.mem.events: 4096\n", Environment{EventsPerSecond: new(1.0)}, "queue-fills", "at 1 events a second the queue of 4096 is full 1h8m16s after"},
		{"no rate", sound, Environment{EventsPerSecond: new(0.0)}, "queue-bound", "3200 events"},
		{"old default", sound, Environment{Version: "8.10.4"}, "queue-bound", "4096 events"},
		{"new default", sound, Environment{Version: "8.11.0"}, "queue-bound", "3200 events"},
		{"newer default", sound, Environment{Version: "9.0.0"}, "queue-bound", "3200 events"},
		{"oldest default", sound, Environment{Version: "6.8.23"}, "queue-bound", "4096 events"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			findings := LintContext(settings(t, tt.text), tt.env)
			if tt.rule == "" {
				if slices.ContainsFunc(findings, func(f Finding) bool { return f.Rule == tt.says }) {
					t.Errorf("%+v", findings)
				}
				return
			}
			if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Rule == tt.rule && strings.Contains(f.What, tt.says) }) {
				t.Errorf("no %s with %q: %+v", tt.rule, tt.says, findings)
			}
		})
	}
}

// The output of an Elastic Agent policy is judged as Filebeat's own; where the
// agent makes it listen no file tells.
func TestLintOfAPolicy(t *testing.T) {
	have := Lint(settings(t, `
outputs:
  es: {type: elasticsearch, hosts: [es]}
  other: {type: logstash, hosts: [b], timeout: 24h}
  default: {type: logstash, hosts: ['a:5044'], timeout: 0s}
inputs: [{type: filestream}]
`))
	want := []string{
		"error timeout-zero output.logstash.timeout=0s:5",
		"info queue-bound queue.mem.events=3200 (default):0",
		"info agent-policy outputs.default.type=logstash:5",
	}
	if d := cmp.Diff(want, rules(have)); d != "" {
		t.Error(d)
	}
}

// The options of Filebeat's command line stand above its file.
func TestOverrides(t *testing.T) {
	s, err := ParseSettings(strings.NewReader(sound), "output.logstash.timeout=0s", "output.logstash.hosts=a:5044,b:5044", "queue.mem.events=4096", "http.enabled=false")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a:5044", "b:5044"}, s.Hosts); d != "" {
		t.Error(d)
	}
	want := []string{
		"error timeout-zero output.logstash.timeout=0s (by -E):0",
		"warning http-off http.enabled=false (by -E):0",
		"info one-host-at-a-time output.logstash.loadbalance=false (default):0",
		"info queue-bound queue.mem.events=4096 (by -E):0",
	}
	if d := cmp.Diff(want, rules(Lint(s))); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"output.logstash.timeout", "=0s", "a=[", "a=b\n\tc: d"} {
		if _, err := ParseSettings(strings.NewReader(sound), bad); err == nil || !strings.Contains(err.Error(), "parse override") {
			t.Errorf("override %q: error %v", bad, err)
		}
	}
}

func TestGiveUp(t *testing.T) {
	for retries, want := range map[int]time.Duration{
		-5: 200 * time.Millisecond, 0: 200 * time.Millisecond, 3: 3 * time.Second, 8: 102200 * time.Millisecond,
		9: 204600 * time.Millisecond, 10: 324600 * time.Millisecond, 15: 924600 * time.Millisecond, 1 << 62: 29724600 * time.Millisecond,
	} {
		if got := giveUp(retries); got != want {
			t.Errorf("tcp_retries2 = %d: %v, want %v", retries, got, want)
		}
	}
}
