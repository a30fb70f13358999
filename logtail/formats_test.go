package logtail_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/logtail"
)

// formatLines are lines as the programs write them, and what they say.
var formatLines = []struct {
	name    string
	text    string
	format  logtail.Format
	want    logtail.Entry
	pattern string
}{
	{
		"docker", `{"log":"2026-11-21 up\n","stream":"stdout","time":"2026-11-21T12:00:00.123456789Z"}`, logtail.DockerJSON,
		logtail.Entry{Time: at("2026-11-21T12:00:00.123456789Z"), RawTime: "2026-11-21T12:00:00.123456789Z", Stream: "stdout", Message: "2026-11-21 up"}, "",
	},
	{
		"docker, split at 16 KiB", `{"log":"first half","stream":"stderr","attrs":{"tag":"x"},"time":"2026-11-21T12:00:00.1Z"}`, logtail.DockerJSON,
		logtail.Entry{Time: at("2026-11-21T12:00:00.1Z"), RawTime: "2026-11-21T12:00:00.1Z", Stream: "stderr", Message: "first half", Partial: true}, "",
	},
	{
		"docker around Filebeat 7", `{"log":"2026-11-21T12:00:00.000Z\tERROR\t[logstash]\tlogstash/async.go:280\tFailed to publish events caused by: EOF\n","stream":"stderr","time":"2026-11-21T12:00:01Z"}`, logtail.DockerJSON,
		logtail.Entry{Time: at("2026-11-21T12:00:01Z"), RawTime: "2026-11-21T12:00:01Z", Stream: "stderr", Message: "2026-11-21T12:00:00.000Z\tERROR\t[logstash]\tlogstash/async.go:280\tFailed to publish events caused by: EOF"}, "filebeat-eof",
	},
	{
		"cri", "2016-10-06T00:17:09.669794202Z stdout F The content of the log", logtail.CRI,
		logtail.Entry{Time: at("2016-10-06T00:17:09.669794202Z"), RawTime: "2016-10-06T00:17:09.669794202Z", Stream: "stdout", Message: "The content of the log"}, "",
	},
	{
		"cri, part, zone", "2016-10-06T02:17:09.669794202+02:00 stderr P:x first half ", logtail.CRI,
		logtail.Entry{Time: at("2016-10-06T00:17:09.669794202Z"), RawTime: "2016-10-06T02:17:09.669794202+02:00", Stream: "stderr", Message: "first half ", Partial: true}, "",
	},
	{
		"cri, empty", "2016-10-06T00:17:09Z stdout F", logtail.CRI,
		logtail.Entry{Time: at("2016-10-06T00:17:09Z"), RawTime: "2016-10-06T00:17:09Z", Stream: "stdout"}, "",
	},
	{
		"filebeat 7", "2020-01-01T00:00:00.000+0200\tINFO\t[publisher_pipeline_output]\tpipeline/output.go:151\tConnection to backoff(async(tcp://logstash:5044)) established", logtail.BeatsText,
		logtail.Entry{Time: at("2019-12-31T22:00:00Z"), RawTime: "2020-01-01T00:00:00.000+0200", Level: "info", Message: "Connection to backoff(async(tcp://logstash:5044)) established"}, "filebeat-connected",
	},
	{
		"filebeat 6, no logger", "2018-04-26T14:52:04.978+0800\tERROR\tlogstash/async.go:235\tFailed to publish events caused by: client is not connected", logtail.BeatsText,
		logtail.Entry{Time: at("2018-04-26T06:52:04.978Z"), RawTime: "2018-04-26T14:52:04.978+0800", Level: "error", Message: "Failed to publish events caused by: client is not connected"}, "filebeat-not-connected",
	},
	{
		"filebeat 7, with fields", "2019-08-20T16:43:02.495Z\tINFO\t[monitoring]\tlog/log.go:145\tNon-zero metrics in the last 30s\t{\"monitoring\": {}}", logtail.BeatsText,
		logtail.Entry{Time: at("2019-08-20T16:43:02.495Z"), RawTime: "2019-08-20T16:43:02.495Z", Level: "info", Message: "Non-zero metrics in the last 30s\t{\"monitoring\": {}}"}, "",
	},
	{
		"filebeat 7, json", `{"level":"error","timestamp":"2021-02-03T04:05:06.789+0100","logger":"logstash","caller":"logstash/async.go:280","message":"Failed to publish events caused by: lumberjack protocol error"}`, logtail.BeatsJSON,
		logtail.Entry{Time: at("2021-02-03T03:05:06.789Z"), RawTime: "2021-02-03T04:05:06.789+0100", Level: "error", Message: "Failed to publish events caused by: lumberjack protocol error"}, "filebeat-protocol",
	},
	{
		"filebeat 8", `{"log.level":"info","@timestamp":"2025-02-20T12:59:07.406Z","log.logger":"publisher_pipeline_output","log.origin":{"function":"f","file.name":"pipeline/client_worker.go","file.line":146},"message":"Connecting to backoff(async(tcp://127.0.0.1:5044))","service.name":"filebeat","ecs.version":"1.6.0"}`, logtail.BeatsECS,
		logtail.Entry{Time: at("2025-02-20T12:59:07.406Z"), RawTime: "2025-02-20T12:59:07.406Z", Level: "info", Message: "Connecting to backoff(async(tcp://127.0.0.1:5044))"}, "filebeat-connecting",
	},
	{
		"ecs, level nested, zone", `{"log":{"level":"WARN"},"@timestamp":"2024-05-31T16:54:45.317-0400","message":"a \"quoted\" word"}`, logtail.BeatsECS,
		logtail.Entry{Time: at("2024-05-31T20:54:45.317Z"), RawTime: "2024-05-31T16:54:45.317-0400", Level: "warn", Message: `a "quoted" word`}, "",
	},
	{
		"logstash", "[2026-11-21T12:00:00,123][INFO ][logstash.x][main] msg", logtail.LogstashPlain,
		logtail.Entry{Time: at("2026-11-21T12:00:00.123Z"), RawTime: "2026-11-21T12:00:00,123", NoZone: true, Level: "info", Message: "msg"}, "",
	},
	{
		"logstash, plugin, brackets in the message", "[2021-06-16T13:26:38,587][INFO ][org.logstash.beats.BeatsHandler][main][e15b1999] [local: 0.0.0.0:5044, remote: undefined] closing (Connection reset by peer)", logtail.LogstashPlain,
		logtail.Entry{Time: at("2021-06-16T13:26:38.587Z"), RawTime: "2021-06-16T13:26:38,587", NoZone: true, Level: "info", Message: "[local: 0.0.0.0:5044, remote: undefined] closing (Connection reset by peer)"}, "logstash-reset",
	},
	{
		"logstash 6, padded logger", "[2017-11-29T13:58:22,271][WARN ][logstash.inputs.beats    ] Could not retrieve", logtail.LogstashPlain,
		logtail.Entry{Time: at("2017-11-29T13:58:22.271Z"), RawTime: "2017-11-29T13:58:22,271", NoZone: true, Level: "warn", Message: "Could not retrieve"}, "",
	},
	{"stack trace", "\tat sun.nio.ch.FileDispatcherImpl.read0(Native Method) ~[?:1.8.0_131]", logtail.Plain, logtail.Entry{Message: "\tat sun.nio.ch.FileDispatcherImpl.read0(Native Method) ~[?:1.8.0_131]"}, ""},
	{"other json", `{"msg":"hello"}`, logtail.Plain, logtail.Entry{Message: `{"msg":"hello"}`}, ""},
	{"torn json", `{"log":"x\n","stream":"stdout","time":"2026-`, logtail.Plain, logtail.Entry{Message: `{"log":"x\n","stream":"stdout","time":"2026-`}, ""},
	{"empty", "", logtail.Plain, logtail.Entry{}, ""},
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestFormats(t *testing.T) {
	for _, c := range formatLines {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"", "\n", "\r\n"} {
				line := []byte(c.text + end)
				if got := logtail.Detect(line); got != c.format {
					t.Fatalf("Detect: %s, want %s", got, c.format)
				}
				got, err := c.format.Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("entry (-want +got):\n%s", diff)
				}
				if got.Time.Location() != time.UTC {
					t.Errorf("time is in %v", got.Time.Location())
				}
			}
		})
	}
}

func TestParseQuotesBadInput(t *testing.T) {
	for _, c := range []struct {
		format logtail.Format
		line   string
		want   string
	}{
		{logtail.DockerJSON, `{"log":1}`, `{\"log\":1}`},
		{logtail.DockerJSON, `{"log":"x","time":"noon"}`, `time "noon"`},
		{logtail.DockerJSON, `not json`, "not a JSON object"},
		{logtail.DockerJSON, `{"log":"x","stream":7,"time":"2026-11-21T12:00:00Z"}`, `"stream"`},
		{logtail.CRI, "2016-10-06T00:17:09Z stdwhat F x", `stream "stdwhat"`},
		{logtail.CRI, "2016-10-06T00:17:09Z stdout X x", `tag "X"`},
		{logtail.CRI, "today stdout F x", `time "today"`},
		{logtail.BeatsText, "2020-01-01T00:00:00.000Z INFO x", "no tab"},
		{logtail.BeatsText, "2020-01-01T00:00:00.000Z\tIN FO\tx", `level "IN FO"`},
		{logtail.BeatsJSON, `{"level":"info","timestamp":"x"}`, `"message"`},
		{logtail.BeatsECS, `{"@timestamp":"2020-01-01T00:00:00Z"}`, `"message"`},
		{logtail.BeatsECS, `{"message":"x"}`, `"@timestamp"`},
		{logtail.LogstashPlain, "[a][b] c", "want [time]"},
		{logtail.LogstashPlain, "[yesterday][INFO ][x] c", `time "yesterday"`},
		{"morse", ".-", `"morse"`},
		{logtail.CRI, strings.Repeat("x", 5000), "(5000 bytes)"},
	} {
		_, err := c.format.Parse([]byte(c.line))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s.Parse(%.80q): %v, want %s", c.format, c.line, err, c.want)
		}
	}
}

// fuzzFormat checks what must hold for any line: no panic, an error or an entry
// in UTC, and a line is of the format that Detect names.
func fuzzFormat(f *testing.F, format logtail.Format) {
	seeds := 0
	for _, c := range formatLines {
		if c.format == format {
			f.Add([]byte(c.text))
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatalf("no seed of format %s", format)
	}
	f.Add([]byte("[[[[]]]"))
	f.Add([]byte("{\"log\":\"\\ud800\",\"time\":\"\"}"))
	f.Add([]byte("2016-10-06T00:17:09Z\t\t\t"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := format.Parse(line)
		if err != nil {
			if len(err.Error()) > 4000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		} else if !e.Time.IsZero() && e.Time.Location() != time.UTC {
			t.Errorf("time in %v", e.Time.Location())
		}
		found := logtail.Detect(line)
		if _, err := found.Parse(line); err != nil && found != logtail.DockerJSON && found != logtail.BeatsECS && found != logtail.BeatsJSON {
			t.Errorf("detected %s, and: %v", found, err)
		}
	})
}

func FuzzParsePlain(f *testing.F)         { fuzzFormat(f, logtail.Plain) }
func FuzzParseDockerJSON(f *testing.F)    { fuzzFormat(f, logtail.DockerJSON) }
func FuzzParseCRI(f *testing.F)           { fuzzFormat(f, logtail.CRI) }
func FuzzParseBeatsText(f *testing.F)     { fuzzFormat(f, logtail.BeatsText) }
func FuzzParseBeatsJSON(f *testing.F)     { fuzzFormat(f, logtail.BeatsJSON) }
func FuzzParseBeatsECS(f *testing.F)      { fuzzFormat(f, logtail.BeatsECS) }
func FuzzParseLogstashPlain(f *testing.F) { fuzzFormat(f, logtail.LogstashPlain) }
