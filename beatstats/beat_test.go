package beatstats

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const outputEvents = "libbeat.output.events."

// TestBeatGenerations reads the same moment as each generation tells it.
func TestBeatGenerations(t *testing.T) {
	const (
		active = "libbeat.pipeline.events.active"
		filled = "libbeat.pipeline.queue.filled.events"
		max    = "libbeat.pipeline.queue.max_events"
	)
	tests := []struct {
		file, version string
		pending       Value
		capacity      *Value
		notes         []string
	}{
		{"6.8", "", Value{N: 64, Key: active}, nil, nil},
		{"7.17", "7.17.9", Value{N: 64, Key: active}, &Value{N: 4096, Key: max}, nil},
		{"8.5", "8.5.3", Value{N: 64, Key: active}, nil, nil},
		{"8.12", "8.12.0", Value{N: 64, Key: active}, &Value{N: 3200, Key: max}, nil},
		{"8.14", "8.14.3", Value{N: 64, Key: active}, &Value{N: 3200, Key: max}, nil},
		{"8.15.0", "8.15.0", Value{N: 64, Key: "libbeat.queue.filled.events"}, &Value{N: 3200, Key: "libbeat.queue.max_events"},
			[]string{"misplaced at libbeat.queue", "8.15.0 misplaces"}},
		{"8.15.0-zeros", "8.15.0", Value{N: 64, Key: active}, &Value{N: 0, Key: max, Corrupt: "no queue holds 0 events"}, []string{"8.15.0 misplaces"}},
		{"8.17", "8.17.1", Value{N: 64, Key: filled}, &Value{N: 3200, Key: max}, nil},
		{"8.17-disk", "8.17.1", Value{N: 64, Key: active}, nil, []string{filled + " passed over: 9223372036854775802 can't be a count: as an unsigned gauge without its sign bit it is -6"}},
		{"8.17-negative", "8.17.1", Value{N: 64, Key: filled}, &Value{N: 3200, Key: max}, nil},
		{"9.0", "9.0.1", Value{N: 64, Key: filled}, &Value{N: 3200, Key: max}, []string{"9.0.1 leaves out filebeat.events"}},
		{"9.2", "9.2.0", Value{N: 64, Key: filled}, &Value{N: 3200, Key: max}, []string{"latency_delta is cleared"}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			s, err := Parse(fixture(t, "filebeat-"+tt.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			want := Sample{
				Kind: Beat, Name: "filebeat", Version: tt.version, Output: "logstash",
				ID: "6f0d5c1e-93f0-4c6e-9f3b-2f8f2b7f6a01", Uptime: new(600042 * time.Millisecond),
				Acked:      &Value{N: 540, Key: outputEvents + "acked"},
				Total:      &Value{N: 600, Key: outputEvents + "total"},
				Active:     &Value{N: 60, Key: outputEvents + "active"},
				Failed:     &Value{N: 0, Key: outputEvents + "failed"},
				Dropped:    &Value{N: 0, Key: outputEvents + "dropped"},
				Duplicates: &Value{N: 0, Key: outputEvents + "duplicates"},
				Batches:    &Value{N: 541, Key: outputEvents + "batches"},
				Retries:    &Value{N: 1, Key: "libbeat.pipeline.events.retry"},
				WriteBytes: &Value{N: 91800, Key: "libbeat.output.write.bytes"}, WriteErrors: &Value{N: 0, Key: "libbeat.output.write.errors"},
				ReadBytes: &Value{N: 3240, Key: "libbeat.output.read.bytes"}, ReadErrors: &Value{N: 0, Key: "libbeat.output.read.errors"},
				Published: &Value{N: 604, Key: "libbeat.pipeline.events.published"},
				Pending:   &tt.pending, Capacity: tt.capacity,
				Clients:     &Value{N: 1, Key: "libbeat.pipeline.clients"},
				Goroutines:  &Value{N: 32, Key: "beat.runtime.goroutines"},
				MemoryBytes: &Value{N: 98304000, Key: "beat.memstats.rss"},
				Handles:     &Value{N: 11, Key: "beat.handles.open"},

				HarvestersRunning: &Value{N: 1, Key: "filebeat.harvester.running"}, HarvestersStarted: &Value{N: 1, Key: "filebeat.harvester.started"},
				HarvestersClosed: &Value{N: 0, Key: "filebeat.harvester.closed"}, OpenFiles: &Value{N: 1, Key: "filebeat.harvester.open_files"},
				RegistrarStates: &Value{N: 1, Key: "registrar.states.current"}, RegistrarWrites: &Value{N: 541, Key: "registrar.writes.total"},
				RegistrarFailures: &Value{N: 0, Key: "registrar.writes.fail"},
			}
			if !slices.Contains([]string{"6.8", "7.17", "8.5", "8.12"}, tt.file) { // the others came with 8.14
				want.Latency = &Latency{
					Key: "libbeat.output.write.latency.histogram", Count: &Value{N: 540, Key: "libbeat.output.write.latency.histogram.count"},
					Median: new(2.5), P75: new(4.0), P95: new(9.0), P99: new(20.75), Max: new(41.0),
				}
			}
			switch tt.file {
			case "6.8":
				want.Goroutines, want.Handles = nil, nil
			case "9.2":
				want.RecentLatency = &Latency{
					Key: "libbeat.output.write.latency_delta.histogram", Count: &Value{N: 2, Key: "libbeat.output.write.latency_delta.histogram.count"},
					Median: new(4.0), P75: new(5.0), P95: new(5.0), P99: new(5.0), Max: new(5.0),
				}
			case "8.17-disk":
				want.CapacityBytes = &Value{N: 10737418240, Key: "libbeat.pipeline.queue.max_bytes"}
			case "8.17-negative":
				want.Active = &Value{N: -1140, Key: outputEvents + "active", Corrupt: "9223372036854774668 can't be a count: as an unsigned gauge without its sign bit it is -1140"}
			}
			if c := s.Capacity; c != nil && tt.capacity != nil && tt.capacity.Corrupt != "" && strings.HasPrefix(c.Corrupt, tt.capacity.Corrupt) {
				want.Capacity = c
			}
			wantNotes(t, s.Notes, tt.notes)
			s.Notes = nil
			if d := cmp.Diff(want, s); d != "" {
				t.Error(d)
			}
		})
	}
}

func wantNotes(t *testing.T, have, want []string) {
	t.Helper()
	if len(have) != len(want) {
		t.Errorf("notes %q, want %q", have, want)
		return
	}
	for i, w := range want {
		if !strings.Contains(have[i], w) {
			t.Errorf("note %q, want one with %q", have[i], w)
		}
	}
}

// TestEveryFilebeatBody reads bodies added later too, real ones among them.
func TestEveryFilebeatBody(t *testing.T) {
	version := regexp.MustCompile(`^filebeat-(\d+\.\d+(?:\.\d+)?)`)
	for name, body := range fixtures(t, "filebeat-*.json", 13) {
		t.Run(name, func(t *testing.T) {
			s, err := ParseBeat(body)
			if err != nil {
				t.Fatal(err)
			}
			for key, v := range map[string]*Value{
				"acked": s.Acked, "total": s.Total, "batches": s.Batches, "failed": s.Failed, "published": s.Published,
				"pending": s.Pending, "write_bytes": s.WriteBytes, "read_bytes": s.ReadBytes,
				"write_errors": s.WriteErrors, "read_errors": s.ReadErrors, "memory_bytes": s.MemoryBytes,
			} {
				if !v.OK() {
					t.Errorf("%s: %+v", key, v)
				}
			}
			if s.Name != "filebeat" || s.ID == "" || s.Uptime == nil || s.Output == "" {
				t.Errorf("name %q, id %q, uptime %v, output %q", s.Name, s.ID, s.Uptime, s.Output)
			}
			m := version.FindStringSubmatch(name)
			if m == nil {
				t.Fatalf("%s names no version", name)
			}
			if s.Version != "" && !strings.HasPrefix(s.Version, m[1]) {
				t.Errorf("version %q of %s", s.Version, name)
			}
		})
	}
}

func TestDepthFallsBack(t *testing.T) {
	tests := []struct {
		name, pipeline string
		want           *Value
		notes          int
	}{
		{"published less acked", `{"events":{"published":10},"queue":{"acked":4}}`,
			&Value{N: 6, Key: "libbeat.pipeline.events.published - libbeat.pipeline.queue.acked"}, 0},
		{"acked before this life", `{"events":{"published":10},"queue":{"acked":14}}`,
			&Value{N: -4, Key: "libbeat.pipeline.events.published - libbeat.pipeline.queue.acked", Corrupt: "10 - 14 is below zero"}, 1},
		{"a part is corrupt", `{"events":{"published":10.5},"queue":{"acked":4}}`,
			&Value{N: 6, Key: "libbeat.pipeline.events.published - libbeat.pipeline.queue.acked", Corrupt: `libbeat.pipeline.events.published: "10.5" is not an integer`}, 1},
		{"filled corrupt, active good", `{"events":{"active":3},"queue":{"filled":{"events":-1}}}`,
			&Value{N: 3, Key: "libbeat.pipeline.events.active"}, 1},
		{"all corrupt", `{"events":{"active":-3},"queue":{"filled":{"events":-1}}}`,
			&Value{N: -1, Key: "libbeat.pipeline.queue.filled.events", Corrupt: "-1 is below zero"}, 2},
		{"nothing", `{}`, nil, 0},
		{"zero is a depth", `{"queue":{"filled":{"events":0}},"events":{"active":7}}`,
			&Value{N: 0, Key: "libbeat.pipeline.queue.filled.events"}, 0},
		{"null is absent", `{"queue":{"filled":{"events":null}},"events":{"active":7}}`,
			&Value{N: 7, Key: "libbeat.pipeline.events.active"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseBeat(fmt.Appendf(nil, `{"libbeat":{"pipeline":%s}}`, tt.pipeline))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, s.Pending); d != "" {
				t.Error(d)
			}
			if len(s.Notes) != tt.notes {
				t.Errorf("notes %q", s.Notes)
			}
		})
	}
}

func TestCorruptNumbers(t *testing.T) {
	tests := []struct {
		raw     string
		n       int64
		corrupt string // "" is a good number
	}{
		{"0", 0, ""},
		{"4096", 4096, ""},
		{"4611686018427387903", 1<<62 - 1, ""},
		{"1e3", 1000, ""},
		{"12.0", 12, ""},
		{"-0", 0, ""},
		{"-1140", -1140, "below zero"},
		{"-1e3", -1000, "below zero"},
		{"9223372036854775807", -1, "without its sign bit it is -1"},
		{"18446744073709551615", -1, "as an unsigned gauge it is -1"},
		{"18446744073709551616", 1<<63 - 1, "does not fit 64 bits"},
		{"-9223372036854775809", -1 << 63, "below zero"},
		{"1e400", 1<<63 - 1, "does not fit 64 bits"},
		{"-1e400", -1 << 63, "does not fit 64 bits"},
		{"1.5", 1, "not an integer"},
		{"1e-400", 0, ""},
		{"1e17", 100000000000000000, "more than a float can count"},
		{`"12"`, 0, "not a number"},
		{"true", 0, "not a number"},
		{"{}", 0, "not a number"},
		{"[1]", 0, "not a number"},
	}
	for _, tt := range tests {
		t.Run(tt.raw, func(t *testing.T) {
			s, err := Parse(fmt.Appendf(nil, `{"libbeat":{"output":{"events":{"acked":%s}}}}`, tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			v := s.Acked
			if v == nil || v.N != tt.n || (tt.corrupt == "") != (v.Corrupt == "") || !strings.Contains(v.Corrupt, tt.corrupt) {
				t.Errorf("%s: %+v, want %d, corrupt %q", tt.raw, v, tt.n, tt.corrupt)
			}
		})
	}
}

func TestKeysGivenTwice(t *testing.T) {
	s, err := Parse([]byte(`{"libbeat":{"output":{"events":{"acked":1,"acked":2,"a\u0063ked":3}}},
		"beat":{"info":{"version":"8.1.0","version":"8.2.0"}},"libbeat":{"output":{"events":{"total":9}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Acked.N != 3 || s.Acked.OK() {
		t.Errorf("acked %+v, want corrupt", s.Acked)
	}
	if s.Total == nil || s.Total.N != 9 {
		t.Errorf("total %+v", s.Total)
	}
	wantNotes(t, s.Notes, []string{"beat.info.version is given more than once", `"libbeat" is given more than once`, `"output" is given`, `"events" is given`})
}

func TestKeysAreNotPaths(t *testing.T) {
	s, err := Parse([]byte(`{"libbeat":{"output.events.acked":7,"output":{"events.acked":8,"events":{"acked.":9,"":1}}},"libbeat.output.events.acked":6}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Acked != nil {
		t.Errorf("acked %+v, want none", s.Acked)
	}
}

func TestUptimeOutOfRange(t *testing.T) {
	for _, ms := range []string{"-1", "9223372036855", "1e400", `"soon"`} {
		s, err := Parse(fmt.Appendf(nil, `{"libbeat":{},"beat":{"info":{"uptime":{"ms":%s}}}}`, ms))
		if err != nil {
			t.Fatal(err)
		}
		if s.Uptime != nil || len(s.Notes) != 1 {
			t.Errorf("%s: uptime %v, notes %q", ms, s.Uptime, s.Notes)
		}
	}
}
