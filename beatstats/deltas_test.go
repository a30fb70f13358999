package beatstats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// logged adds up the lines of a fixture.
func logged(t *testing.T, name string) (list []Sample) {
	t.Helper()
	var d Deltas
	for line := range bytes.Lines(fixture(t, name)) {
		s, ok, err := d.Add(bytes.TrimRight(line, "\n"))
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v: %s", name, ok, err, line)
		}
		list = append(list, s)
	}
	return list
}

// A real Filebeat's own totals, in its last line, are what its lines add up to,
// in each way to log. Between them acks stand still while 15 events wait.
func TestDeltasAddUpToTheTotals(t *testing.T) {
	for _, kind := range []string{"text", "json", "ecs"} {
		list := logged(t, "filebeat-7.17.29-"+kind+".log")
		if len(list) != 12 {
			t.Fatalf("%s: %d samples", kind, len(list))
		}
		sums, totals := list[7], list[8]
		if *totals.Uptime < *sums.Uptime || totals.ID != sums.ID || totals.Acked.N != 35 {
			t.Errorf("%s: totals %+v after %+v", kind, totals, sums)
		}
		for i, v := range sums.counters() {
			if (*v).OK() && (*totals.counters()[i]).N != (*v).N {
				t.Errorf("%s: %s adds up to %d, in all it is %d", kind, (*v).Key, (*v).N, (*totals.counters()[i]).N)
			}
		}
		held := list[5]
		if held.Acked.N != 20 || held.Pending.N != 15 || held.Active.N != 15 || held.Capacity.N != 4096 || held.Output != "logstash" {
			t.Errorf("%s: held %+v", kind, held)
		}
		if want := (Logged{Period: time.Second}); *held.Logged != want || *totals.Logged != want {
			t.Errorf("%s: covers %+v and %+v", kind, held.Logged, totals.Logged)
		}
		if why, restarted := Epoch(totals, list[9]); !restarted || !strings.Contains(why, "ephemeral id changed") || list[9].Acked.N != 0 {
			t.Errorf("%s: second life %q, acked %+v", kind, why, list[9].Acked)
		}
		if last := list[11]; last.Acked.N != 7 || last.Name != "filebeat" || last.Version != "7.17.29" {
			t.Errorf("%s: last %+v", kind, last)
		}
	}
}

func TestDeltasOfGenerations(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	want := []struct {
		id, version                     string
		acked, pending, capacity, readB *int64
		active, rss                     *int64
		since                           time.Duration
		latency                         *int64
		note                            string
		started                         *int64
	}{
		{id: "a6.8", acked: n(1282), pending: n(22), readB: n(168), started: n(4)},
		{id: "a6.8", acked: n(1304), pending: n(0), readB: n(174), started: n(4)},
		{id: "b7.3", acked: n(3), pending: n(0), readB: n(18), since: 4470059 * time.Millisecond},
		{id: "b7.3", acked: n(3), pending: n(2), readB: n(18), since: 4470059 * time.Millisecond},
		{id: "b7.3", acked: n(3), pending: n(5), readB: n(54), since: 4470059 * time.Millisecond, note: "lines are missing after an uptime of 1h15m30.056s"},
		{id: "c8.14", version: "8.14.3", acked: n(1205), pending: n(22), capacity: n(3200), readB: n(4231), active: n(0), rss: n(97427456), started: n(7)},
		{id: "c8.14", version: "8.14.3", acked: n(1205), pending: n(3200), capacity: n(3200), readB: n(4261), active: n(50), rss: n(97427456), started: n(7)},
		{id: "d9.2", version: "9.2.0", acked: n(2), pending: n(3), capacity: n(3200), readB: n(12), active: n(3), rss: n(97427456), since: 81630180 * time.Millisecond, latency: n(540)},
		{id: "e6.3", acked: n(0), pending: n(4), readB: n(0), started: n(1)},
	}
	list := logged(t, "filebeat-lines-made.log")
	if len(list) != len(want) {
		t.Fatalf("%d samples, want %d", len(list), len(want))
	}
	number := func(v *Value) *int64 {
		if !v.OK() {
			return nil
		}
		return &v.N
	}
	for i, w := range want {
		s := list[i]
		t.Run(fmt.Sprint(i, " ", w.id), func(t *testing.T) {
			if s.Kind != Beat || s.ID != w.id || s.Version != w.version || s.Name != "filebeat" || s.Logged.Since != w.since {
				t.Errorf("%+v", s)
			}
			var latency *int64
			if s.Latency != nil {
				latency = number(s.Latency.Count)
			}
			for what, pair := range map[string][2]*int64{
				"acked": {number(s.Acked), w.acked}, "pending": {number(s.Pending), w.pending}, "capacity": {number(s.Capacity), w.capacity},
				"read bytes": {number(s.ReadBytes), w.readB}, "active": {number(s.Active), w.active}, "rss": {number(s.MemoryBytes), w.rss},
				"latency": {latency, w.latency}, "harvesters started": {number(s.HarvestersStarted), w.started},
			} {
				if d := cmp.Diff(pair[1], pair[0]); d != "" {
					t.Errorf("%s: %s", what, d)
				}
			}
			if s.Acked.Key != "libbeat.output.events.acked" {
				t.Errorf("key %q", s.Acked.Key)
			}
			if w.note == "" {
				wantNotes(t, s.Notes, nil)
			} else {
				wantNotes(t, s.Notes, []string{w.note})
			}
		})
	}
	if SameBase(list[1], list[2]) || !SameBase(list[2], list[3]) {
		t.Error("counters from different moments are taken for the same")
	}
}

func TestDeltasRefuse(t *testing.T) {
	const head = "2019-01-29T03:25:07.897Z\tINFO\t[monitoring]\tlog/log.go:124\tNon-zero metrics in the last 30s\t"
	for line, want := range map[string]struct {
		reason Reason
		says   string
	}{
		"": {}, "2026-11-21T15:54:18.166Z\tINFO\tlogp/core.go:1\tHarvester started": {},
		"Non-zero metrics in the last -1s\t{}": {}, "Non-zero metrics in the last \t{}": {},
		"2020-05-07T11:56:23-03:00 INFO Non-zero metrics in the last 30s: beat.info.uptime.ms=30005": {NotJSON, "as before Filebeat 6.2"},
		head + `{"monitoring": {"metrics": {"beat":{"info":`:                                         {NotJSON, "JSON cut off after 43 bytes"},
		head + `{"monitoring": {"metrics": {"apm":{}}}}`:                                             {WrongService, "no monitoring.metrics.libbeat"},
		head + `{"monitoring": {"metrics": {"libbeat":{"output":{"events":{"acked":1}}}}}}`:          {WrongService, "no beat.info.uptime.ms"},
		head + `{"monitoring": ` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101):     {NotJSON, "nested deeper"},
	} {
		s, ok, err := new(Deltas).Add([]byte(line))
		if ok || (want.reason == "") != (err == nil) {
			t.Errorf("%q: %+v, %v, %v", line, s, ok, err)
		}
		if err != nil {
			wantError(t, err, want.reason, want.says)
		}
	}
}

// A corrupt difference spoils the sum for the rest of the life, not the next one.
func TestDeltasCorrupt(t *testing.T) {
	line := func(id string, up, acked string) []byte {
		return fmt.Appendf(nil, `{"message":"Non-zero metrics in the last 30s","monitoring":{"metrics":{"beat":{"info":{"ephemeral_id":%q,"uptime":{"ms":%s}}},"libbeat":{"output":{"events":{"acked":%s}}}}}}`, id, up, acked)
	}
	var d Deltas
	for i, step := range []struct {
		line []byte
		ok   bool
		n    int64
	}{
		{line("a", "30000", "5"), true, 5},
		{line("a", "60000", "-9"), false, 0},
		{line("a", "90000", "3"), false, 0},
		{line("b", "30000", "4611686018427387903"), true, 1<<62 - 1},
		{line("b", "60000", "1"), false, 0},
		{line("c", "30000", "2"), true, 2},
	} {
		s, ok, err := d.Add(step.line)
		if err != nil || !ok || s.Acked.OK() != step.ok || step.ok && s.Acked.N != step.n {
			t.Errorf("step %d: %+v, %v, %v", i, s.Acked, ok, err)
		}
	}
}

// A program whose log goes to two places tells each line twice.
func TestDeltasOfTwoLogs(t *testing.T) {
	var d Deltas
	var last Sample
	for line := range bytes.Lines(fixture(t, "filebeat-7.17.29-text.log")) {
		if bytes.Contains(line, []byte("Total metrics")) {
			break
		}
		s, ok, err := d.Add(line)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		last = s
		if s, ok, err := d.Add(line); err != nil || ok {
			t.Errorf("again: %+v, %v, %v", s, ok, err)
		}
	}
	if last.Acked.N != 35 {
		t.Errorf("acked %+v", last.Acked)
	}
}

func FuzzDeltas(f *testing.F) {
	for _, body := range fixtures(f, "*.log", 4) {
		f.Add(body)
	}
	f.Add([]byte("Non-zero metrics in the last 9223372036854775807ns{\"monitoring\":{\"metrics\":{\"libbeat\":{},\"beat\":{\"info\":{\"uptime\":{\"ms\":1}}}}}}\nTotal metrics{}"))
	f.Fuzz(func(t *testing.T, log []byte) {
		var d Deltas
		var prev *Sample
		for line := range bytes.Lines(log) {
			s, ok, err := d.Add(line)
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Reason != NotJSON && e.Reason != WrongService || !utf8.ValidString(err.Error()) {
					t.Fatalf("error %q", err)
				}
			}
			if !ok {
				continue
			}
			if _, err := json.Marshal(s); err != nil || s.Uptime == nil || s.Logged == nil || s.Logged.Since < 0 || s.Logged.Period < 0 {
				t.Fatalf("%+v, %v", s, err)
			}
			for _, v := range values(s) {
				if v != nil && (v.Key == "" || v.OK() && (v.N < 0 || v.N >= wrapped)) {
					t.Fatalf("value %+v", v)
				}
			}
			if prev != nil {
				if why, restarted := Epoch(*prev, s); why != "" && !restarted && !bytes.Contains(line, []byte("Total ")) {
					t.Fatalf("what was added up ran backward: %s", why)
				}
			}
			prev = &s
		}
	})
}
