package verdict

import (
	"strings"
	"testing"
	"time"

	"halfopen/timeline"
)

// A restart is counted once, however many signs of it there are; a program that
// was only found running is none.
func TestRestarts(t *testing.T) {
	rec := film{seconds: 100, ships: one(phase{})}.roll()
	var with []timeline.Record
	for _, k := range rec.Records {
		with = append(with, k)
		if k.Stats == nil {
			continue
		}
		party := func(name, change string, pid int) {
			k := k
			k.Body = timeline.Body{Party: &timeline.Party{Name: name, At: name, Change: change, PID: pid}}
			with = append(with, k)
		}
		switch s := int((k.Mono - rec.Records[0].Mono).Seconds()); {
		case s == 1:
			party("filebeat", timeline.Started, 7)
			party("logstash", timeline.Started, 8)
		case s == 5: // as a second recording has it
			party("filebeat", timeline.Started, 7)
			party("logstash", timeline.Started, 8)
		case s == 20 || s == 60:
			party("filebeat", timeline.Exited, 0)
		case s == 21 || s == 61:
			party("filebeat", timeline.Started, 100+s)
		case s == 23:
			party("filebeat", timeline.Restarted, 0)
		}
	}
	rec.Records = with
	var got []string
	for _, f := range Judge(rec, Defaults()).Findings {
		if f.Rule == "restarts" {
			got = append(got, f.Text)
		}
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "filebeat was restarted 2 times: 03:04:26") {
		t.Errorf("%q", got)
	}
}

// A shipper that ended is not called well for what it did before, unless the
// recorder ended it.
func TestShipperEnded(t *testing.T) {
	for _, byUs := range []bool{false, true} {
		rec := film{ships: one(phase{})}.roll()
		end := rec.Records[len(rec.Records)-1]
		gone := end
		gone.Body = timeline.Body{Party: &timeline.Party{Name: "filebeat", At: "filebeat", Change: timeline.Exited, How: "signal: killed", ByUs: byUs}}
		end.Mono += time.Minute
		rec.Records = append(rec.Records[:len(rec.Records)-1], gone, end)
		v := Judge(rec, Defaults())
		if want := map[bool]string{false: Inconclusive, true: NotStalled}[byUs]; v.Verdict != want {
			t.Errorf("ended by us %v: %q, want %q: %s", byUs, v.Verdict, want, v.Summary)
		}
		if !byUs && !strings.Contains(v.Summary, "the shipper ended at 03:05:05 UTC (signal: killed)") {
			t.Errorf("%s", v.Summary)
		}
	}
}
