package beatstats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogstash(t *testing.T) {
	const one, two = "pipelines.main.plugins.inputs.beats_5044.", "pipelines.side.car.plugins.inputs.beats_5045."
	base := Sample{
		Kind: Logstash, Name: "logstash-1", Version: "7.17.9", ID: "aeae5a67-85dd-4a8d-b2c9-d16843a3c9eb",
		Uptime:      new(612345 * time.Millisecond),
		EventsIn:    &Value{N: 540, Key: "events.in"},
		EventsOut:   &Value{N: 540, Key: "events.out"},
		MemoryBytes: &Value{N: 151686096, Key: "jvm.mem.heap_used_in_bytes"},
		Handles:     &Value{N: 103, Key: "process.open_file_descriptors"},
	}
	pipeline := func(name string) PipelineEvents {
		at := "pipelines." + name + ".events."
		return PipelineEvents{Name: name, In: &Value{N: 540, Key: at + "in"}, Out: &Value{N: 540, Key: at + "out"}}
	}
	seven, eight := base, base
	seven.Pipelines = []PipelineEvents{pipeline("main")}
	eight.Pipelines = []PipelineEvents{pipeline("main"), pipeline("side.car")}
	seven.Connections = &Value{N: 1, Key: one + "current_connections"}
	seven.PeakConnections = &Value{N: 2, Key: one + "peak_connections"}
	seven.Received = &Value{N: 540, Key: one + "events.out"}
	seven.QueuePush = &Value{N: 412, Key: one + "events.queue_push_duration_in_millis"}

	eight.Version = "8.12.0"
	eight.Connections = &Value{N: 4, Key: one + "current_connections + " + two + "current_connections"}
	eight.PeakConnections = &Value{N: 9, Key: one + "peak_connections + " + two + "peak_connections"}
	eight.Received = &Value{N: 600, Key: one + "events.out + " + two + "events.out"}
	eight.QueuePush = &Value{N: 421, Key: one + "events.queue_push_duration_in_millis + " + two + "events.queue_push_duration_in_millis"}
	eight.Pending = &Value{N: 17, Key: "pipelines.side.car.queue.events_count"}
	eight.PendingBytes = &Value{N: 9184, Key: "pipelines.side.car.queue.queue_size_in_bytes"}
	eight.CapacityBytes = &Value{N: 1 << 30, Key: "pipelines.side.car.queue.max_queue_size_in_bytes"}
	eight.Backpressure = new(0.214)

	for name, want := range map[string]Sample{"logstash-7.17.json": seven, "logstash-8.12.json": eight} {
		s, err := ParseLogstash(fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, s); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestLogstashOddities(t *testing.T) {
	s, err := ParseLogstash([]byte(`{"version":"8.5.0","pipelines":{
		"a":{"plugins":{"inputs":[{"id":"x","current_connections":1,"current_connections":2}]}},
		"b":{"plugins":{"inputs":[7,{"id":"y","current_connections":-1}]}}},
		"flow":{"queue_backpressure":{"current":"Infinity"}},"jvm":{"uptime_in_millis":-5}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Connections; c == nil || !strings.Contains(c.Corrupt, "a.plugins.inputs.x.current_connections: the key is given more than once") {
		t.Errorf("connections %+v", c)
	}
	if s.PeakConnections != nil || s.Backpressure != nil || s.Uptime != nil {
		t.Errorf("peak %+v, backpressure %v, uptime %v", s.PeakConnections, s.Backpressure, s.Uptime)
	}
	wantNotes(t, s.Notes, []string{"jvm.uptime_in_millis: -5"})
}

func TestFluentd(t *testing.T) {
	s, err := Parse(fixture(t, "fluentd-1.16.json"))
	if err != nil {
		t.Fatal(err)
	}
	both := func(key string) string { return "plugins.out_fwd." + key + " + plugins.out_copy." + key }
	want := Sample{
		Kind: Fluentd, Name: "fluentd", Output: "forward, stdout",
		EventsIn:     &Value{N: 604, Key: "plugins.in_monitor_agent.emit_records + plugins.in_tail.emit_records"},
		Published:    &Value{N: 1208, Key: both("emit_records")},
		Pending:      &Value{N: 3, Key: "plugins.out_fwd.buffer_queue_length"},
		PendingBytes: &Value{N: 9216, Key: "plugins.out_fwd.buffer_total_queued_size"},
		Retries:      &Value{N: 2, Key: both("retry_count")},
		Batches:      &Value{N: 660, Key: both("write_count")},
		Failed:       &Value{N: 2, Key: both("rollback_count")},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

func TestFluentBit(t *testing.T) {
	s, err := Parse(fixture(t, "fluent-bit-2.2.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := Sample{
		Kind: FluentBit, Name: "fluent-bit", Output: "forward.0",
		EventsIn:    &Value{N: 604, Key: "input.tail.0.records"},
		Acked:       &Value{N: 540, Key: "output.forward.0.proc_records"},
		WriteBytes:  &Value{N: 54540, Key: "output.forward.0.proc_bytes"},
		WriteErrors: &Value{N: 1, Key: "output.forward.0.errors"},
		Retries:     &Value{N: 4, Key: "output.forward.0.retries"},
		Failed:      &Value{N: 1, Key: "output.forward.0.retries_failed"},
		Dropped:     &Value{N: 10, Key: "output.forward.0.dropped_records"},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

// The second interface tells more, in both of its spellings.
func TestFluentBitText(t *testing.T) {
	want := Sample{
		Kind: FluentBit, Name: FluentBit, Version: "3.1.9", Uptime: new(605 * time.Second), Output: "forward.0, null.1",
		EventsIn:     &Value{N: 604, Key: "fluentbit_input_records_total{tail.0}"},
		Pending:      &Value{N: 7, Key: "fluentbit_input_storage_chunks{tail.0}"},
		PendingBytes: &Value{N: 6400, Key: "fluentbit_input_storage_memory_bytes{tail.0}"},
		Acked:        &Value{N: 545, Key: "fluentbit_output_proc_records_total{forward.0} + fluentbit_output_proc_records_total{null.1}"},
		WriteBytes:   &Value{N: 54940, Key: "fluentbit_output_proc_bytes_total{forward.0} + fluentbit_output_proc_bytes_total{null.1}"},
		WriteErrors:  &Value{N: 1, Key: "fluentbit_output_errors_total{forward.0} + fluentbit_output_errors_total{null.1}"},
		Retries:      &Value{N: 4, Key: "fluentbit_output_retries_total{forward.0} + fluentbit_output_retries_total{null.1}"},
		Failed:       &Value{N: 1, Key: "fluentbit_output_retries_failed_total{forward.0} + fluentbit_output_retries_failed_total{null.1}"},
		Dropped:      &Value{N: 10, Key: "fluentbit_output_dropped_records_total{forward.0} + fluentbit_output_dropped_records_total{null.1}"},
	}
	for name, body := range fixtures(t, "fluent-bit-3.1.*", 2) {
		for _, parse := range []func([]byte) (Sample, error){Parse, ParseFluentBit} {
			s, err := parse(body)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(want, s); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
		if _, err := ParseFluentd(body); err == nil {
			t.Errorf("%s is taken for Fluentd's", name)
		}
	}
}

func TestFluentBitTextOddities(t *testing.T) {
	s, err := Parse([]byte(`fluentbit_uptime{hostname="a b\"}"} -3
fluentbit_output_proc_records_total{name="we\"ird, {1}",x="y"} 7
fluentbit_output_proc_records_total{name="we\"ird, {1}"} 8
fluentbit_output_errors_total NaN
fluentbit_output_retries_total{name="open
another_total 3
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Uptime != nil || s.Acked.OK() || s.Acked.Corrupt == "" || s.WriteErrors.OK() || s.Retries != nil {
		t.Errorf("%+v", s)
	}
	wantNotes(t, s.Notes, []string{`lines that are no metrics, the first: "fluentbit_output_retries_total`})
	if _, err := Parse([]byte("up 1\n")); err == nil {
		t.Error("another's metrics were taken")
	}
}

func TestSumNamesAFewAndCountsTheRest(t *testing.T) {
	var all []*Value
	for i := range 7 {
		all = append(all, &Value{N: 1 << 60, Key: fmt.Sprint("k", i)}, nil)
	}
	got := sum(all)
	if got.Key != "k0 + k1 + k2 + k3 + 3 more" || got.Corrupt != "the sum does not fit 64 bits" {
		t.Errorf("%+v", got)
	}
	if sum([]*Value{nil, nil}) != nil {
		t.Error("a sum of nothing is not nil")
	}
}

func TestEpoch(t *testing.T) {
	at := func(d time.Duration) *time.Duration { return &d }
	n := func(n int64) *Value { return &Value{N: n, Key: "libbeat.output.events.acked"} }
	corrupt := &Value{N: -1, Key: "x", Corrupt: "-1 is below zero"}
	life := Sample{Kind: Beat, ID: "a", Uptime: at(time.Minute), Acked: n(10)}
	tests := []struct {
		name      string
		prev, cur Sample
		why       string
		restarted bool
	}{
		{"goes on", life, Sample{Kind: Beat, ID: "a", Uptime: at(2 * time.Minute), Acked: n(10)}, "", false},
		{"new id", life, Sample{Kind: Beat, ID: "b", Uptime: at(2 * time.Minute), Acked: n(11)}, `ephemeral id changed from "a" to "b"`, true},
		{"uptime falls", life, Sample{Kind: Beat, ID: "a", Uptime: at(time.Second), Acked: n(0)}, "uptime fell from 1m0s to 1s", true},
		{"backward", life, Sample{Kind: Beat, ID: "a", Uptime: at(2 * time.Minute), Acked: n(9)}, "corrupt: libbeat.output.events.acked ran backward from 10 to 9 without a restart", false},
		{"backward by id alone", life, Sample{Kind: Beat, ID: "a", Acked: n(9)}, "corrupt: ", false},
		{"backward by uptime alone", life, Sample{Kind: Beat, Uptime: at(time.Hour), Acked: n(9)}, "corrupt: ", false},
		{"corrupt numbers tell nothing", life, Sample{Kind: Beat, ID: "a", Acked: corrupt}, "", false},
		{"absent numbers tell nothing", life, Sample{Kind: Beat, ID: "a"}, "", false},
		{"gauges may fall", Sample{Kind: Beat, ID: "a", Active: n(9), Pending: n(9)}, Sample{Kind: Beat, ID: "a", Active: n(0), Pending: n(0)}, "", false},
		{"a reloaded pipeline", Sample{Kind: Logstash, ID: "a", Received: n(9)}, Sample{Kind: Logstash, ID: "a", Received: n(0)}, "", false},
		{"another service", life, Sample{Kind: Logstash}, "a logstash answers where a beat did", true},
		{"undated", Sample{Kind: FluentBit, Acked: n(10)}, Sample{Kind: FluentBit, Acked: n(1)}, "libbeat.output.events.acked fell from 10 to 1", true},
		{"fluentd's retries", Sample{Kind: Fluentd, Retries: n(3)}, Sample{Kind: Fluentd, Retries: n(0)}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			why, restarted := Epoch(tt.prev, tt.cur)
			if restarted != tt.restarted || !strings.HasPrefix(why, tt.why) || (tt.why == "") != (why == "") {
				t.Errorf("%q, %v; want %q, %v", why, restarted, tt.why, tt.restarted)
			}
		})
	}
}

// A counter that ran backward is not used, nor what comes after it until it has
// caught up: the way back would look like progress.
func TestLives(t *testing.T) {
	n := func(n int64) *Value { return &Value{N: n, Key: "libbeat.output.events.acked"} }
	corrupt := func(n int64) *Value { return &Value{N: n, Key: "x", Corrupt: "doubtful"} }
	at := func(id string, up time.Duration, acked *Value) Sample {
		return Sample{Kind: Beat, ID: id, Uptime: &up, Acked: acked}
	}
	log := at("b", 90*time.Second, n(2))
	log.Logged = &Logged{Period: 30 * time.Second, Since: time.Minute}
	var l Lives
	for i, step := range []struct {
		s         Sample
		ok        bool
		restarted bool
	}{
		{at("a", 1*time.Second, n(10)), true, false},
		{at("a", 2*time.Second, n(9)), false, false},
		{at("a", 3*time.Second, n(7)), false, false},
		{at("a", 4*time.Second, nil), false, false},
		{at("a", 5*time.Second, corrupt(99)), false, false},
		{at("a", 6*time.Second, n(9)), false, false},
		{at("a", 7*time.Second, n(10)), true, false},
		{at("b", 1*time.Second, n(3)), true, true},
		{at("b", 2*time.Second, n(2)), false, false},
		{log, true, false}, // from another moment on: not comparable
		{at("b", 3*time.Second, n(0)), true, true},
	} {
		marked, why := l.Next(step.s)
		if marked.Acked.OK() != step.ok || (why != "") != step.restarted {
			t.Errorf("step %d: %+v, %q", i, marked.Acked, why)
		}
		if step.s.Acked != nil && strings.Contains(step.s.Acked.Corrupt, "backward") {
			t.Errorf("step %d: the reading itself was changed", i)
		}
	}
}
