package beatstats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func settings(t testing.TB, text string) Settings {
	t.Helper()
	s, err := ParseSettings(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var exported = cmpopts.IgnoreUnexported(Settings{})

// TestSettingsForms reads the same settings flat, nested and in between.
func TestSettingsForms(t *testing.T) {
	want := Settings{
		Output: "logstash", Hosts: []string{"a:5044", "b:5044"},
		Timeout: new(24 * time.Hour), TTL: new(90 * time.Second), Pipelining: new(0), Worker: new(3),
		LoadBalance: new(true), BulkMaxSize: new(1024), MaxRetries: new(-1),
		QueueType: "mem", QueueEvents: new(8192),
		HTTPEnabled: new(true), HTTPHost: "127.0.0.1", HTTPPort: new(5067),
		Inputs: []Input{
			{Type: "filestream", Paths: []string{"/a/*.log", "/b/*.log"}, Enabled: true},
			{Type: "log", Paths: []string{"/c"}, Enabled: false},
		},
	}
	forms := map[string]string{
		"flat": `
filebeat.inputs:
- {type: filestream, paths: [/a/*.log, /b/*.log]}
- {type: log, paths: /c, enabled: no}
output.logstash.hosts: ["a:5044", "b:5044"]
output.logstash.timeout: 24h
output.logstash.ttl: 90
output.logstash.pipelining: 0
output.logstash.workers: 3
output.logstash.loadbalance: on
output.logstash.bulk_max_size: 1024
output.logstash.max_retries: -1
queue.mem.events: 8192
http.enabled: true
http.host: 127.0.0.1
http.port: 5067
`, "nested": `
filebeat:
  inputs:
    - type: filestream
      paths:
        - /a/*.log
        - /b/*.log
    - type: log
      enabled: false
      paths: ["/c"]
output:
  elasticsearch:
    enabled: false
    hosts: ["es:9200"]
  logstash:
    hosts:
      - a:5044
      - b:5044
    timeout: "24h"
    ttl: 1m30s
    pipelining: 0
    worker: 3
    loadbalance: Yes
    bulk_max_size: 1024
    max_retries: -1
queue:
  mem:
    events: 8192
http: {enabled: true, host: "127.0.0.1", port: 5067}
`, "between": `
x-shared: &ls
  loadbalance: true
  bulk_max_size: 1024
filebeat.prospectors:
- type: filestream
  paths: &paths [/a/*.log, /b/*.log]
- type: log
  enabled: false
  paths: /c
output.logstash:
  <<: *ls
  hosts: [a:5044, b:5044]
  timeout: 86400.0
  ttl: 0x5A
  pipelining: 0
  worker: 3
  max_retries: -1
  queue.mem.events: 8192
http:
  enabled: true
  host: 127.0.0.1
  port: 5067
---
output.logstash.timeout: 1s
`}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			s := settings(t, text)
			if d := cmp.Diff(want, s, exported, cmpopts.IgnoreFields(Input{}, "Line")); d != "" {
				t.Error(d)
			}
			for _, f := range s.odd {
				if f.Rule != "more-documents" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// A tab is as good as a space between brackets, in text, and behind a name; a mark
// of the byte order and a directive are no settings.
func TestSettingsPassOver(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":    "output.logstash: {\n\ttimeout: 9s,\n\thosts: [\n\t'a']}\n",
		"text":        "x:\n- |\n  a\n  \tb\noutput.logstash:\n  timeout: 9s\n",
		"behind":      "output.logstash:\n  timeout:\t9s\t# nine\n",
		"byte order":  "\ufeffoutput.logstash:\n  timeout: 9s\n",
		"directive":   "%YAML 1.1\n---\noutput.logstash:\n  timeout: 9s\n",
		"end mark":    "output.logstash:\n  timeout: 9s\n...\n",
		"line ends":   "output.logstash:\r\n  timeout: 9s\r\n",
		"quoted name": "'output.logstash.timeout': 9s\n",
	} {
		if s := settings(t, text); s.Timeout == nil || *s.Timeout != 9*time.Second {
			t.Errorf("%s: timeout %v, found %+v", name, s.Timeout, s.odd)
		}
	}
}

// Quoted or not decides what is a boolean (yaml.v2, then strconv in go-ucfg).
func TestSettingsBooleans(t *testing.T) {
	for value, want := range map[string]*bool{
		"y": new(true), "Yes": new(true), "ON": new(true), "true": new(true), "'true'": new(true), "'1'": new(true), "${B:true}": new(true),
		"n": new(false), "off": new(false), "'F'": new(false), "'yes'": nil, "'on'": nil, "1": nil, "yEs": nil, "${B:yes}": nil, "perhaps": nil,
	} {
		s := settings(t, "output.logstash.loadbalance: "+value+"\n")
		if d := cmp.Diff(want, s.LoadBalance); d != "" || (want == nil) != (len(s.odd) == 1) {
			t.Errorf("%s: %s %+v", value, d, s.odd)
		}
	}
}

func TestSettingsDurations(t *testing.T) {
	tests := []struct {
		value string
		want  *time.Duration
		bad   bool
	}{
		{"30", new(30 * time.Second), false},
		{"0", new(time.Duration(0)), false},
		{"0s", new(time.Duration(0)), false},
		{"1.5", new(1500 * time.Millisecond), false},
		{"-1", new(-time.Second), false},
		{"24h", new(24 * time.Hour), false},
		{"1h30m", new(90 * time.Minute), false},
		{"'30'", nil, true}, // a string without a unit
		{"30 seconds", nil, true},
		{"1d", nil, true},
		{"1e300", nil, true},
		{"99999999999", nil, true},
		{"true", nil, true},
		{"", nil, false},
		{"~", nil, false},
		{"${LS_TIMEOUT:0s}", new(time.Duration(0)), false},
		{"${LS_TIMEOUT:30}", nil, true},
		{"${LS_TIMEOUT}", nil, false},
		{"1_0", new(10 * time.Second), false},
		{"030", new(24 * time.Second), false},
		{"08", new(8 * time.Second), false},
		{"0x10", new(16 * time.Second), false},
		{"1e1", new(10 * time.Second), false},
		{"+30", new(30 * time.Second), false},
		{".5", new(500 * time.Millisecond), false},
		{".inf", nil, true},
		{".nan", nil, true},
		{"1:30", nil, true},
	}
	for _, tt := range tests {
		s := settings(t, "output.logstash:\n  timeout: "+tt.value+"\n")
		if d := cmp.Diff(tt.want, s.Timeout); d != "" {
			t.Errorf("%q: %s", tt.value, d)
		}
		if tt.bad != (len(s.odd) == 1) || tt.bad && (s.odd[0].Rule != "bad-value" || s.odd[0].Line != 2) {
			t.Errorf("%q: %+v", tt.value, s.odd)
		}
	}
}

func TestSettingsOfTheGuide(t *testing.T) {
	s := settings(t, string(fixture(t, "filebeat-guide.yml")))
	want := Settings{
		Output: "logstash", Hosts: []string{"router:5044"}, Timeout: new(time.Duration(0)), TTL: new(time.Duration(0)), Pipelining: new(2),
		QueueType: "mem", QueueEvents: new(4096), FlushMinEvents: new(1), HTTPEnabled: new(true), HTTPHost: "0.0.0.0", HTTPPort: new(5066),
		Inputs: []Input{{Type: "log", Paths: []string{"/logs/*.log"}, Enabled: true, Line: 2}},
	}
	if d := cmp.Diff(want, s, exported); d != "" {
		t.Error(d)
	}
	if at, on := s.Endpoint(); at != "http://localhost:5066" || !on {
		t.Errorf("endpoint %q, %v", at, on)
	}
}

func TestSettingsEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"http.enabled: false": "",
		"http.enabled: true":  "http://localhost:5066",
		"http: {enabled: true, port: 5067, host: '::'}":               "http://localhost:5067",
		"http: {enabled: true, host: '::1'}":                          "http://[::1]:5066",
		"http: {enabled: true, host: 10.0.0.1}":                       "http://10.0.0.1:5066",
		"http: {enabled: true, host: unix:///run/f.sock, port: 5066}": "unix:///run/f.sock",
		"http: {enabled: true, host: 'http+unix:///run/f.sock'}":      "http+unix:///run/f.sock",
	} {
		at, on := settings(t, text).Endpoint()
		if at != want || on != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, at, on, want)
		}
		if _, err := NewClient(nil, at, 0); on && err != nil {
			t.Errorf("%q: %v", at, err)
		}
	}
}

func TestSettingsRefuses(t *testing.T) {
	deep := strings.Repeat("{a: ", 100) + strings.Repeat("}", 100)
	tests := []struct{ name, text, says string }{
		{"a tab", "output.logstash:\n\thosts: [a]\n", "parse settings: line 2: a tab in the indentation"},
		{"a tab behind spaces", "output.logstash:\n  \thosts: [a]\n", "parse settings: line 2: a tab in the indentation"},
		{"a tab before a comment", "output.logstash:\n  hosts: [a]\n\t# b\n", "parse settings: line 3: a tab in the indentation"},
		{"open list", "a: [1,\nb: 2\n", "parse settings: line "},
		{"beside an item, twice broken", "a:\n - b: 1\n c: [\n", "parse settings: line 3"},
		{"another file", "#!/bin/sh\nexec filebeat -e\n", `want names with values, have "#!/bin/sh`},
		{"a list", "- type: log\n", "want names with values"},
		{"unknown alias", "a: *b\n", `no anchor "b"`},
		{"alias of itself", "a: &x {b: *x}\n", "nested deeper than 64 levels"},
		{"deep", deep, "deeper"},
		{"aliases of aliases", "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + bomb(9), "more than 20000 settings"},
		{"brackets", "a: " + strings.Repeat("[", 1<<14-4), "more than 2000 brackets"}, // the parser would take an hour at a megabyte
		{"lists", strings.Repeat("- ", 100), "more than 64 lists in one line"},
		{"tags", strings.Repeat("- !a ", 1<<14), "a line of 81920 bytes"}, // the parser would take all memory
		{"lines", strings.Repeat("a:\n", 5001), "more than 5000 lines"},
		{"huge", strings.Repeat("#", 1<<20+1), "more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSettings(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if ours := strings.Contains(tt.says, "more than") || strings.Contains(tt.says, "deeper") || strings.Contains(tt.says, "a line of"); ours != errors.Is(err, ErrTooMuch) {
				t.Errorf("%v: is it our limit? want %v", err, ours)
			}
		})
	}
	if _, err := ParseSettings(iotest.ErrReader(errors.New("disk on fire"))); err == nil || !strings.Contains(err.Error(), "read settings: disk on fire") {
		t.Errorf("error %v", err)
	}
}

// bomb is n lists, each of ten aliases of the one before.
func bomb(n byte) string {
	var b strings.Builder
	for i := byte(1); i <= n; i++ {
		b.WriteString("a" + string('0'+i) + ": &a" + string('0'+i) + " [" + strings.TrimSuffix(strings.Repeat("*a"+string('0'+i-1)+",", 10), ",") + "]\n")
	}
	return b.String()
}

func TestSettingsKeepNoPassword(t *testing.T) {
	s := settings(t, "output.elasticsearch.hosts: ['https://elastic:secret@es:9200']\n")
	for _, text := range []string{
		"output.elasticsearch: {password: 'secret\n",
		"output.elasticsearch:\n  api_key: [secret\n",
		"output.elasticsearch.hosts: [https://elastic:secret@es:9200\n",
	} {
		if _, err := ParseSettings(strings.NewReader(text)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	twice := settings(t, "output.elasticsearch.password: secret\noutput.elasticsearch.password: secret2\n")
	if f := Lint(twice); len(f) == 0 || strings.Contains(fmt.Sprint(f), "secret") {
		t.Errorf("%+v", f)
	}
	out, err := json.Marshal(s)
	if err != nil || bytes.Contains(out, []byte("secret")) || !bytes.Contains(out, []byte("es:9200")) {
		t.Errorf("%s, %v", out, err)
	}
}

func FuzzParseSettings(f *testing.F) {
	for _, text := range fixtures(f, "*.yml", 1) {
		f.Add(text)
	}
	f.Add([]byte("a: &x {b: *x}\n<<: *x\n? [k]\n: v\n"))
	f.Add([]byte("filebeat.inputs:\n- type: log\npaths:\n- /a\n"))
	f.Add([]byte("output.logstash: {timeout: 1e300, ttl: !!int 5, hosts: |\n  a\n}"))
	f.Add([]byte("\"\": a\n? \n: b\n\"\": c\n"))
	f.Add([]byte("output:\n  logstash:\n    timeout: ${T:0s}\n    worker: 9223372036854775807\n    hosts: [a,b,c]\n    loadbalance: true\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSettings(bytes.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "parse settings: ") && !strings.HasPrefix(err.Error(), "read settings: ") {
				t.Fatalf("error %q", err)
			}
			return
		}
		for _, env := range []Environment{{}, {
			TCPRetries2: new(-1 << 62), KeepaliveProbes: new(1 << 62), ClientInactivityTimeout: new(time.Nanosecond),
			EventsPerSecond: new(1e-300), Version: "8",
		}} {
			for _, fi := range LintContext(s, env) {
				if fi.Rule == "" || fi.Setting == "" || fi.What == "" || fi.Why == "" || fi.Source == "" || fi.Line < 0 {
					t.Errorf("%+v", fi)
				}
				if utf8.Valid(text) && !utf8.ValidString(fi.What+fi.Value) {
					t.Errorf("no UTF-8: %q in %q", fi.What, fi.Value)
				}
			}
		}
	})
}
