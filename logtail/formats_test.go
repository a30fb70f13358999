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
	{
		"logstash 7, json", `{"level":"INFO","loggerName":"org.logstash.beats.BeatsHandler","timeMillis":1594974961328,"thread":"defaultEventExecutorGroup-4-1","logEvent":{"message":"[local: 10.51.0.2:5044, remote: 10.50.0.2:33342] Handling exception: Connection reset by peer"}}`, logtail.LogstashJSON,
		logtail.Entry{Time: at("2020-07-17T08:36:01.328Z"), RawTime: "1594974961328", Level: "info", Message: "[local: 10.51.0.2:5044, remote: 10.50.0.2:33342] Handling exception: Connection reset by peer"}, "logstash-reset",
	},
	{
		"kernel", "4,12345,5140900123,-;TCP: request_sock_TCP: Possible SYN flooding on port 24224. Sending cookies.", logtail.Kernel,
		logtail.Entry{RawTime: "5140900123", Uptime: 5140900123 * time.Microsecond, Level: "warning", Message: "TCP: request_sock_TCP: Possible SYN flooding on port 24224. Sending cookies."}, "kernel-syn-flood",
	},
	{
		"kernel, more fields, escaped", `30,340,5690716,-,caller=T42;a\x0atab\x09back\x5cslash \x`, logtail.Kernel,
		logtail.Entry{RawTime: "5690716", Uptime: 5690716 * time.Microsecond, Level: "info", Message: "a\ntab\tback\\slash \\x"}, "",
	},
	{
		"kernel, fragment", "6,339,1,c;one ", logtail.Kernel,
		logtail.Entry{RawTime: "1", Uptime: time.Microsecond, Level: "info", Message: "one ", Partial: true}, "",
	},
	{
		"journal", `{"__CURSOR":"s=63ad;i=3","__REALTIME_TIMESTAMP":"1795277679947600","_SOURCE_REALTIME_TIMESTAMP":"1795277679945728","PRIORITY":"3","MESSAGE":"nf_conntrack: nf_conntrack: table full, dropping packet"}`, logtail.Journal,
		logtail.Entry{Time: at("2026-11-21T16:14:39.945728Z"), RawTime: "1795277679945728", Level: "err", Message: "nf_conntrack: nf_conntrack: table full, dropping packet"}, "kernel-conntrack-full",
	},
	{
		"journal, bytes", `{"__CURSOR":"s=63ad;i=4","__REALTIME_TIMESTAMP":"1795277679947954","MESSAGE":[98,105,110,255,0,97]}`, logtail.Journal,
		logtail.Entry{Time: at("2026-11-21T16:14:39.947954Z"), RawTime: "1795277679947954", Message: "bin\xff\x00a"}, "",
	},
	{
		"journal, more than one, and one too long", `{"__CURSOR":"s=63ad;i=5","__REALTIME_TIMESTAMP":"1795277679947954","MESSAGE":["one",[116,119,111],null]}`, logtail.Journal,
		logtail.Entry{Time: at("2026-11-21T16:14:39.947954Z"), RawTime: "1795277679947954", Message: "one\ntwo\n"}, "",
	},
	{
		"alb", albLine, logtail.ALB,
		logtail.Entry{Time: at("2024-06-10T13:50:58.480543Z"), RawTime: "2024-06-10T13:50:58.480543Z", Message: albLine}, "alb-502",
	},
	{
		"alb, healthy", `h2 2024-06-10T13:50:58.480543Z app/web/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 0.440 0.000 200 200 1107 11912 "GET https://example.com:443/502 HTTP/2.0" "-" - -`, logtail.ALB,
		logtail.Entry{
			Time: at("2024-06-10T13:50:58.480543Z"), RawTime: "2024-06-10T13:50:58.480543Z",
			Message: `h2 2024-06-10T13:50:58.480543Z app/web/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 0.440 0.000 200 200 1107 11912 "GET https://example.com:443/502 HTTP/2.0" "-" - -`,
		}, "",
	},
	{
		"nginx, combined", accessLine, logtail.AccessLog,
		logtail.Entry{Time: at("2026-11-21T11:00:00Z"), RawTime: "21/Nov/2026:12:00:00 +0100", Message: accessLine}, "",
	},
	{
		"time and message", "2026-11-21T12:00:00.123456+01:00 web kernel: e1000e: eth1 NIC Link is Down", logtail.Stamped,
		logtail.Entry{Time: at("2026-11-21T11:00:00.123456Z"), RawTime: "2026-11-21T12:00:00.123456+01:00", Message: "web kernel: e1000e: eth1 NIC Link is Down"}, "kernel-link-down",
	},
	{"stack trace", "\tat sun.nio.ch.FileDispatcherImpl.read0(Native Method) ~[?:1.8.0_131]", logtail.Plain, logtail.Entry{Message: "\tat sun.nio.ch.FileDispatcherImpl.read0(Native Method) ~[?:1.8.0_131]"}, ""},
	{"other json", `{"msg":"hello"}`, logtail.Plain, logtail.Entry{Message: `{"msg":"hello"}`}, ""},
	{"torn json", `{"log":"x\n","stream":"stdout","time":"2026-`, logtail.Plain, logtail.Entry{Message: `{"log":"x\n","stream":"stdout","time":"2026-`}, ""},
	{"empty", "", logtail.Plain, logtail.Entry{}, ""},
}

const (
	albLine    = `https 2024-06-10T13:50:58.480543Z app/web/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.001 0.001 -1 502 - 298 679 "GET https://example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2`
	accessLine = `2001:db8::1 - frank [21/Nov/2026:12:00:00 +0100] "POST /_bulk HTTP/1.1" 502 157 "-" "Filebeat/8.12.0"`
)

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
		{logtail.LogstashJSON, `{"timeMillis":1.5,"logEvent":{"message":"x"}}`, "timeMillis"},
		{logtail.LogstashJSON, `{"timeMillis":1,"logEvent":"x"}`, `"logEvent.message"`},
		{logtail.Kernel, "6,339,-1,-;x", "want priority"},
		{logtail.Kernel, "6,339,18446744073709551615,-;x", "292 years"},
		{logtail.Journal, `{"MESSAGE":[256],"__REALTIME_TIMESTAMP":"1"}`, "no byte"},
		{logtail.Journal, `{"MESSAGE":{},"__REALTIME_TIMESTAMP":"1"}`, "neither text nor"},
		{logtail.Journal, `{"MESSAGE":"x"}`, `"__REALTIME_TIMESTAMP"`},
		{logtail.Journal, strings.Repeat("[", 1<<20), "not a JSON object"},
		{logtail.ALB, "tcp 2024-06-10T13:50:58Z app/x", `type "tcp"`},
		{logtail.ALB, "http 2024-06-10T13:50:58Z net/x", "app/"},
		{logtail.AccessLog, `a b c [today] "GET" 200`, `time "today"`},
		{logtail.AccessLog, `a [21/Nov/2026:12:00:00 +0000] "GET" 200`, "want host"},
		{logtail.Stamped, "2024-06-10T13:50:58Z", "no space"},
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
		// Of JSON, Detect looks at the keys alone.
		if _, err := found.Parse(line); err != nil && line[0] != '{' {
			t.Errorf("detected %s, and: %v", found, err)
		}
	})
}

func TestParseFormat(t *testing.T) {
	for name, want := range map[string]logtail.Format{"cri": logtail.CRI, "kernel": logtail.Kernel} {
		if got, err := logtail.ParseFormat(name); got != want || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v", name, got, err)
		}
	}
	if _, err := logtail.ParseFormat("morse"); err == nil || !strings.Contains(err.Error(), "beats-ecs") || !strings.Contains(err.Error(), `"morse"`) {
		t.Errorf("%v", err)
	}
}

func FuzzParsePlain(f *testing.F)         { fuzzFormat(f, logtail.Plain) }
func FuzzParseDockerJSON(f *testing.F)    { fuzzFormat(f, logtail.DockerJSON) }
func FuzzParseCRI(f *testing.F)           { fuzzFormat(f, logtail.CRI) }
func FuzzParseBeatsText(f *testing.F)     { fuzzFormat(f, logtail.BeatsText) }
func FuzzParseBeatsJSON(f *testing.F)     { fuzzFormat(f, logtail.BeatsJSON) }
func FuzzParseBeatsECS(f *testing.F)      { fuzzFormat(f, logtail.BeatsECS) }
func FuzzParseLogstashPlain(f *testing.F) { fuzzFormat(f, logtail.LogstashPlain) }
func FuzzParseLogstashJSON(f *testing.F)  { fuzzFormat(f, logtail.LogstashJSON) }
func FuzzParseKernel(f *testing.F)        { fuzzFormat(f, logtail.Kernel) }
func FuzzParseJournal(f *testing.F)       { fuzzFormat(f, logtail.Journal) }
func FuzzParseALB(f *testing.F)           { fuzzFormat(f, logtail.ALB) }
func FuzzParseAccessLog(f *testing.F)     { fuzzFormat(f, logtail.AccessLog) }
func FuzzParseStamped(f *testing.F)       { fuzzFormat(f, logtail.Stamped) }
