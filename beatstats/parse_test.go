package beatstats

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseRefuses(t *testing.T) {
	whole := string(fixture(t, "filebeat-7.17.json"))
	tests := []struct {
		name, body string
		reason     Reason
		says       string
	}{
		{"nothing", "", NotJSON, "empty body"},
		{"blanks", " \n\t", NotJSON, "empty body"},
		{"page", "<!DOCTYPE HTML><html>login</html>", NotJSON, `an HTML page, not JSON: "<!DOCTYPE HTML>`},
		{"page without doctype", "\n<html>", NotJSON, "an HTML page"},
		{"xml", `<?xml version="1.0"?>`, NotJSON, "XML"},
		{"prometheus", "# HELP up\n# TYPE up gauge\nup 1\n", NotJSON, "Prometheus text"},
		{"gzip", "\x1f\x8b\x08\x00", NotJSON, "gzip data"},
		{"ltsv", "plugin_id:x\ttype:forward", NotJSON, `not JSON: "plugin_id:x\ttype:forward"`},
		{"cut off", whole[:700], NotJSON, "JSON cut off after 700 bytes, it ends with"},
		{"NaN", `{"libbeat":{"pipeline":{"queue":{"filled":{"pct":NaN}}}}}`, NotJSON, "broken JSON at byte 50"},
		{"Infinity", `{"libbeat":-Infinity}`, NotJSON, "broken JSON"},
		{"control byte", "{\"libbeat\":\"a\x00\"}", NotJSON, "broken JSON"},
		{"trailing", `{"libbeat":{}} {}`, NotJSON, "broken JSON"},
		{"array", `[1,2]`, NotJSON, "want a JSON object"},
		{"number", `17`, NotJSON, "want a JSON object"},
		{"deep", strings.Repeat("[", 1<<24), NotJSON, "nested deeper than 64 levels"},
		{"deep below a key", `{"libbeat":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101), NotJSON, "nested deeper"},
		{"empty object", `{}`, WrongService, "an empty object"},
		{"elasticsearch", `{"name":"es","cluster_name":"c","version":{"number":"7.3.1"},"tagline":"You Know"}`, WrongService, `an object with "name", "cluster_name", "version", "tagline"`},
		{"beat's /", `{"beat":"filebeat","hostname":"a","version":"6.8.23"}`, WrongService, "its counters are at /stats"},
		{"fluent bit's /", `{"fluent-bit":{"version":"2.2.0"}}`, WrongService, "/api/v1/metrics"},
		{"logstash's /", `{"host":"a","version":"8.12.0","http_address":"a","ephemeral_id":"b"}`, WrongService, "/_node/stats"},
		{"libbeat no object", `{"libbeat":7}`, WrongService, `an object with "libbeat"`},
		{"escape in a key", "{\"\\u001b[31m\":1}", WrongService, `"\x1b[31m"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.body))
			var e *Error
			if !errors.As(err, &e) || e.Reason != tt.reason || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v, want %s with %s", err, tt.reason, tt.says)
			}
			if !reflect.ValueOf(s).IsZero() {
				t.Errorf("a sample beside the error: %+v", s)
			}
			if len(err.Error()) > 400 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestParseAsAnother gives each parser every body: its own it takes, others not.
func TestParseAsAnother(t *testing.T) {
	parsers := map[string]func([]byte) (Sample, error){
		Beat: ParseBeat, Logstash: ParseLogstash, Fluentd: ParseFluentd, FluentBit: ParseFluentBit,
	}
	for name, body := range fixtures(t, "*.json", 16) {
		own, err := Parse(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for kind, parse := range parsers {
			s, err := parse(body)
			var e *Error
			switch {
			case kind == own.Kind && (err != nil || !reflect.DeepEqual(s, own)):
				t.Errorf("%s as %s: %v", name, kind, err)
			case kind != own.Kind && (!errors.As(err, &e) || e.Reason != WrongService || !strings.Contains(e.Op, kind)):
				t.Errorf("%s as %s: %v", name, kind, err)
			}
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	s, err := Parse([]byte("{\"filebeat\":{\"harvester\":{\"files\":{\"a\":{\"name\":\"/var/log/\xe9t\xe9\"}}}},\"libbeat\":{\"output\":{\"type\":\"log\xff\",\"events\":{\"acked\":7}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Acked.OK() || s.Acked.N != 7 || s.Output != "log\ufffd" {
		t.Errorf("acked %+v, output %q", s.Acked, s.Output)
	}
	wantNotes(t, s.Notes, []string{"invalid UTF-8 from byte 57"})
}

func FuzzParse(f *testing.F) {
	for _, body := range fixtures(f, "*.json", 16) {
		f.Add(body)
	}
	f.Add([]byte(`{"libbeat":{"output":{"events":{"acked":1e400,"acked":-1}}},"beat":{"info":{"uptime":{"ms":9e99}}}}`))
	f.Add([]byte("{\"libbeat\":{},\"\xffbeat\":{}}"))
	for _, body := range fixtures(f, "fluent-bit-3.1.*", 2) {
		f.Add(body)
	}
	f.Add([]byte("fluentbit_uptime 1e400\nfluentbit_input_records_total{a=\"\\\"\",name=\"x\"} -1 3\nfluentbit_input_records_total{name=\"x} 5"))
	f.Add([]byte(`{"plugins":[{"output_plugin":true,"plugin_id":null},7],"input":{},"output":{"a":[]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Parse(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason != NotJSON && e.Reason != WrongService || !utf8.ValidString(err.Error()) {
				t.Fatalf("error %q", err)
			}
			return
		}
		if _, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		}
		if s.Uptime != nil && *s.Uptime < 0 || s.Backpressure != nil && math.IsNaN(*s.Backpressure) {
			t.Errorf("uptime %v, backpressure %v", s.Uptime, s.Backpressure)
		}
		for i, v := range values(s) {
			if v != nil && (v.Key == "" || !utf8.ValidString(v.Key) || v.OK() && (v.N < 0 || v.N >= wrapped)) {
				t.Errorf("value %d: %+v", i, v)
			}
		}
		if why, again := Epoch(s, s); why != "" || again {
			t.Errorf("a sample differs from itself: %s", why)
		}
	})
}

// values gives every Value of a sample.
func values(s Sample) (all []*Value) {
	for _, f := range reflect.ValueOf(s).Fields() {
		if v, ok := f.Interface().(*Value); ok {
			all = append(all, v)
		}
	}
	return all
}
