package discover

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"halfopen/flow"
)

func TestRecognise(t *testing.T) {
	for _, tc := range []struct{ exe, cmdline, kind string }{
		{"/usr/share/filebeat/bin/filebeat", "/usr/share/filebeat/bin/filebeat --environment systemd -c /etc/filebeat/filebeat.yml", Filebeat},
		{"/opt/Elastic/Agent/data/elastic-agent-8.6.0/components/filebeat", "filebeat -E management.enabled=true", Filebeat},
		{"/opt/Elastic/Agent/data/elastic-agent-8.15.0/components/agentbeat", "agentbeat filebeat -E management.enabled=true", Filebeat},
		{"/opt/Elastic/Agent/data/elastic-agent-8.15.0/components/agentbeat", "agentbeat metricbeat", ""},
		{"/usr/share/filebeat/bin/filebeat (deleted)", "filebeat", Filebeat},
		{"", "/usr/share/filebeat/bin/filebeat -e", Filebeat},
		{"/usr/share/filebeat/bin/filebeat-god", "filebeat-god -r / -n", ""},
		{"/usr/share/logstash/jdk/bin/java", "/usr/share/logstash/jdk/bin/java -Xms1g -cp /usr/share/logstash/logstash-core/lib/jars/x.jar org.logstash.Logstash", Logstash},
		{"/usr/bin/java", "java -Dls.cgroup.cpu.path.override=/ -jar x.jar", Logstash},
		{"/usr/bin/java", "java -jar kafka.jar", ""},
		{"/opt/fluent/bin/ruby", "/opt/fluent/bin/ruby /opt/fluent/bin/fluentd -c /etc/fluent/fluentd.conf --under-supervisor", Fluentd},
		{"/opt/td-agent/bin/ruby", "/opt/td-agent/bin/ruby /usr/sbin/td-agent --log /var/log/td-agent/td-agent.log", Fluentd},
		{"/usr/bin/ruby3.1", "ruby3.1 /usr/local/bin/fluentd", Fluentd},
		{"/usr/bin/ruby3.1", "ruby3.1 rails server", ""},
		{"/opt/fluent/bin/ruby", "worker:fluentd1", Fluentd},
		{"/usr/bin/dispatcher", "worker:fluentd1", ""},
		{"/opt/fluent-bit/bin/fluent-bit", "/opt/fluent-bit/bin/fluent-bit -c /etc/fluent-bit/fluent-bit.conf", FluentBit},
		{"/usr/bin/vector", "/usr/bin/vector", Vector},
		{"/usr/bin/tail", "tail -f /var/log/filebeat/filebeat", ""},
		{"/usr/bin/vim", "vim logstash-core", ""},
		{"", "", ""},
	} {
		if kind, why := recognise(tc.exe, strings.Fields(tc.cmdline)); kind != tc.kind || (why == "") != (kind == "") {
			t.Errorf("%q %q is %q (%q), want %q", tc.exe, tc.cmdline, kind, why, tc.kind)
		}
	}
}

func TestOptions(t *testing.T) {
	args := []string{"filebeat", "-c", "a.yml", "--path.config=/etc", "-path.home", "/home", "-E", "http.port=5067", "--E=http.port=5068", "-c"}
	for name, want := range map[string]string{"c": "a.yml", "path.config": "/etc", "path.home": "/home", "path.logs": ""} {
		if got := option(args, name); got != want {
			t.Errorf("option %q is %q, want %q", name, got, want)
		}
	}
	if got := overrides(options(args, "E")); !maps.Equal(got, map[string]string{"http.port": "5068"}) {
		t.Errorf("overrides %q", got)
	}
}

// In none of these may hunter2 be left.
var secretArgs = [][]string{
	{"x", "--password", "hunter2"}, {"x", "--password=hunter2"}, {"x", "-E", "output.elasticsearch.password=hunter2 word"},
	{"x", "-E", "output.elasticsearch.api_key: id:hunter2"}, {"x", "--api-key=hunter2"}, {"x", "--TOKEN", "-hunter2"},
	{"x", "-E", `output={hosts: [a], password: "hunter2"}`}, {"x", "-Djavax.net.ssl.keyStorePassword=hunter2"},
	{"x", "https://user:hunter2@host:9200/path"}, {"x", "-E", "output.elasticsearch.hosts=[https://elastic:hunter2@a:9200,https://elastic:hunter2@b]"},
	{"x", "-H", "Authorization: Bearer hunter2"}, {"x", "-H", "X: Bearer hunter2"}, {"AWS_SECRET_ACCESS_KEY=hunter2"},
	{"fluentd", "--shared_key", "hunter2"}, {"x", "--password=a\nhunter2"}, {"x", "amqp://hunter2@queue"},
}

func TestRedact(t *testing.T) {
	for _, args := range secretArgs {
		if got := Redact(args); strings.Contains(strings.Join(got, " "), "hunter2") || len(got) != len(args) {
			t.Errorf("%q becomes %q", args, got)
		}
	}
	for _, args := range [][]string{
		{"filebeat", "-c", "/etc/filebeat/filebeat.yml", "--path.home", "/usr/share/filebeat", "-E", "http.port=5067", "-e"},
		{"java", "-Xmx1g", "-Dls.cgroup.cpuacct.path.override=/", "-cp", "/a.jar:/b.jar", "org.logstash.Logstash"},
		{"x", "http://host:9200/a@b"},
	} {
		if got := Redact(args); !slices.Equal(got, args) {
			t.Errorf("%q becomes %q", args, got)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for _, args := range secretArgs {
		f.Add(strings.Join(args, "\x00"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := Redact([]string{"x", line, "--password=hunter2" + line, "--token", line + "hunter2", "http://" + "u:hunter2@" + "h"})
		if len(got) != 6 || strings.Contains(strings.Join(got[2:], " "), "hunter2") {
			t.Errorf("%q becomes %q", line, got)
		}
	})
}

const logstashYML = `# settings
node.name: "a # b"
api.http.port: 9601-9700
http.host: ::1   # old name
path:
  data: /var/lib/logstash
  logs: '/var/log/logstash'
  list:
    - a: b
queue: {type: persisted}
pipeline:
  workers: &w 2
top: yes
`

func TestParseScalars(t *testing.T) {
	want := map[string]string{"node.name": "a # b", "api.http.port": "9601-9700", "http.host": "::1",
		"path.data": "/var/lib/logstash", "path.logs": "/var/log/logstash", "top": "yes"}
	if got := parseScalars([]byte(logstashYML)); !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

const fluentConf = `
<system>
  log_level info
</system>
<source>
  @type monitor_agent
  bind 0.0.0.0
  port 24230
</source>
<source>
  @type forward
</source>
<match app.**>
  @type forward
  <server>
    host 10.0.0.1
    port 24225
  </server>
  <server>
    host 10.0.0.2
    port 24226
  </server>
  <buffer>
    @type file
  </buffer>
</match>
`

func TestParseBlocks(t *testing.T) {
	blocks := parseBlocks([]byte(fluentConf))
	if len(blocks) != 4 || !blocks[1].is("monitor_agent") || blocks[1].get("port", "") != "24230" {
		t.Fatalf("got %+v", blocks)
	}
	if !slices.Equal(blocks[2].ports(), flow.NewPorts(24224)) || !slices.Equal(blocks[3].ports(), flow.NewPorts(24225, 24226)) {
		t.Errorf("ports %v, %v", blocks[2].ports(), blocks[3].ports())
	}
	if !blocks[3].is("forward") {
		t.Errorf("the output is %+v", blocks[3])
	}
	bit := parseBlocks([]byte("[SERVICE]\n\tHTTP_Server\tOn\n[OUTPUT]\n    Name  Forward\n    Port  24227\n"))
	if len(bit) != 2 || bit[0].get("http_server", "") != "On" || !bit[1].is("forward") || !slices.Equal(bit[1].ports(), flow.NewPorts(24227)) {
		t.Errorf("got %+v", bit)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(logstashYML))
	f.Add([]byte(fluentConf))
	f.Add([]byte("[SERVICE]\n HTTP_Server On\n[OUTPUT]\n Name forward\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, value := range parseScalars(text) {
			if value == "" || strings.ContainsAny(name+value, "\n") {
				t.Errorf("%q: %q", name, value)
			}
		}
		for _, b := range parseBlocks(text) {
			b.ports()
			b.is("forward")
		}
		portOf(string(text), 5044)
	})
}

func TestPortOf(t *testing.T) {
	for host, want := range map[string]uint16{
		"logstash": 5044, "logstash:5045": 5045, "[::1]:5046": 5046, "10.0.0.1": 5044, "https://es:9243/path": 9243, "a:b": 0, "a:70000": 0, "": 0,
	} {
		if got, ok := portOf(host, 5044); got != want && ok || ok != (want != 0) {
			t.Errorf("%q is port %d, %v; want %d", host, got, ok, want)
		}
	}
}
