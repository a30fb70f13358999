package beatstats

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func pipeline(t testing.TB, text string) PipelineConfig {
	t.Helper()
	p, err := ParsePipeline(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParsePipeline(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // "port timeout line" of each beats input
		odd        int
	}{
		{"plain", "input {\n  beats {\n    port => 5044\n  }\n}\n", []string{"5044 1m0s 2"}, 0},
		{"with a timeout", "input { beats {\n port => 5044\n client_inactivity_timeout => 300 } }", []string{"5044 5m0s 3"}, 0},
		{"quoted", `input { beats { port => "5044" client_inactivity_timeout => '90' } }`, []string{"5044 1m30s 1"}, 0},
		{"never", "input { beats { port => 5044 client_inactivity_timeout => 0 } }", []string{"5044 0s 1"}, 0},
		{"from the environment", `input { beats { port => "${PORT:5045}" client_inactivity_timeout => "${T}" } }`, []string{"5045 1m0s 1"}, 0},
		{"comments", "# input { beats { port => 1 } }\ninput {\n# }\nbeats { # a\n port => 5044 # }\n}\n}", []string{"5044 1m0s 4"}, 0},
		{"two, and others", "input { tcp { port => 1 } beats { port => 5044 } beats { port => 5045 client_inactivity_timeout => 10 } }", []string{"5044 1m0s 1", "5045 10s 1"}, 0},
		{"hashes and codecs", `input { beats { add_field => { "port" => "1" } tags => [ "a", "{" ] codec => plain { charset => "x" } port => 5044 } }`, []string{"5044 1m0s 1"}, 0},
		{"in a condition", `input { if "${X}" == "a" { beats { port => 5044 } } else { beats { port => 5045 } } }`, []string{"5044 1m0s 1", "5045 1m0s 1"}, 0},
		{"a pattern with braces", "filter { if [a] =~ /x{2}\\/{/ { drop { } } }\ninput { beats { port => 5044 } }", []string{"5044 1m0s 2"}, 0},
		{"elsewhere", "output { beats { port => 1 } }", nil, 0},
		{"a value called if", `input { beats { type => "if" port => 5044 } }`, []string{"5044 1m0s 1"}, 0},
		{"no number", "input { beats { port => 5044 client_inactivity_timeout => 1m } }", []string{"5044 1m0s 1"}, 1},
		{"nothing", "", nil, 0},
		{"an open string", `input { beats { port => 5044 type => "a } }`, nil, -1},
		{"an open block", "input { beats {\n port => 5044 }\n", nil, -1},
		{"closed twice", "input { } }", nil, -1},
		{"deep", strings.Repeat("a {", 100) + strings.Repeat("}", 100), nil, -1},
		{"just too deep", strings.Repeat("{", 65), nil, -1},
		{"huge", strings.Repeat("#", 1<<20+1), nil, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ParsePipeline(strings.NewReader(tt.text))
			if (err != nil) != (tt.odd < 0) {
				t.Fatalf("error %v", err)
			}
			var have []string
			for _, b := range p.Beats {
				have = append(have, fmt.Sprint(or(b.Port, 0), b.Timeout(), b.Line))
			}
			for i := range have {
				have[i] = strings.Join(strings.Fields(have[i]), " ")
			}
			if d := cmp.Diff(tt.want, have); d != "" || err == nil && len(p.odd) != tt.odd {
				t.Errorf("%s %+v", d, p.odd)
			}
		})
	}
}

func TestLintPipeline(t *testing.T) {
	for text, want := range map[string]string{
		"input { beats { port => 5044 } }":                                 "info inactivity beats.client_inactivity_timeout=60 (default):1",
		"input { beats { port => 5044 client_inactivity_timeout => 90 } }": "info inactivity beats.client_inactivity_timeout=90:1",
		"input { beats { client_inactivity_timeout => 0 } }":               "warning inactivity-off beats.client_inactivity_timeout=0:1",
		"input { tcp { port => 5044 } }":                                   "warning no-beats-input input=:0",
		"input { beats { port => http } }":                                 "error bad-value beats.port=http:1",
	} {
		if have := rules(LintPipeline(pipeline(t, text))); len(have) == 0 || have[0] != want {
			t.Errorf("%s: %q, want %q", text, have, want)
		}
	}
}

// Of several inputs the one counts that the shipper's hosts name, else the least
// patient.
func TestPipelineFor(t *testing.T) {
	p := pipeline(t, `input {
		beats { port => 5044 client_inactivity_timeout => 300 }
		beats { port => 5045 client_inactivity_timeout => 10 }
		beats { port => 5046 client_inactivity_timeout => 0 }
	}`)
	for hosts, want := range map[string]time.Duration{
		"a:5044": 5 * time.Minute, "a": 5 * time.Minute, "a:5045": 10 * time.Second, "a:5046": 0, "a:7": 10 * time.Second, "[::1]:5044": 5 * time.Minute,
	} {
		s := settings(t, "output.logstash.hosts: ['"+hosts+"']\n")
		if in, ok := p.For(s); !ok || in.Timeout() != want {
			t.Errorf("%s: %v, %v, want %v", hosts, in.Timeout(), ok, want)
		}
	}
	if _, ok := (PipelineConfig{}).For(Settings{}); ok {
		t.Error("an input of an empty pipeline")
	}
}

func TestLooksLikePipeline(t *testing.T) {
	for text, want := range map[string]bool{
		"input {": true, "# a\n\n# b\n  filter{": true, "output # x\n{": true, "\ufeffinput { }": true,
		"output.logstash: {}": false, "input:\n  a: {": false, "": false, "inputs {": false, "output: { a: b }": false,
	} {
		if LooksLikePipeline([]byte(text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func FuzzParsePipeline(f *testing.F) {
	f.Add([]byte("input {\n  beats {\n    port => 5044\n  client_inactivity_timeout => \"${T:60}\" }\n}\noutput { stdout { codec => rubydebug } }\n"))
	f.Add([]byte(`filter { if [a] =~ /x{2}/ and "b" in [c] { grok { match => { "m" => "%{X}" } } } else if [d] { } else { } }`))
	f.Add([]byte("input { beats { port => => } => { } } } # \"\n"))
	f.Add([]byte("input{beats{port=>1e300 client_inactivity_timeout=>-1}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePipeline(bytes.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "parse pipeline: line ") && !strings.HasPrefix(err.Error(), "read pipeline: ") {
				t.Fatalf("error %q", err)
			}
			return
		}
		for _, fi := range LintPipeline(p) {
			if fi.Rule == "" || fi.Setting == "" || fi.What == "" || fi.Why == "" || fi.Source == "" || fi.Line < 0 {
				t.Errorf("%+v", fi)
			}
		}
		p.For(Settings{Hosts: []string{"a:5044"}})
	})
}
