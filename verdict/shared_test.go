package verdict

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// together puts the story's shipper and receiver into one namespace, and another
// shipper with them, whose sockets the reading holds too.
func (y story) together(theirs func(s int) []sockstate.Socket) *timeline.Recording {
	far := func(socks []sockstate.Socket) (out []sockstate.Socket) {
		for _, s := range socks {
			s.Flow, s.Inode, s.Info = s.Flow.Reverse(), s.Inode+100, &sockstate.Info{LastDataRecv: time.Minute}
			out = append(out, s)
		}
		return out
	}
	own := y.sock
	y.sock = func(s int) []sockstate.Socket { return slices.Concat(theirs(s), own(s), far(own(s))) }
	rec := y.tell()
	h := rec.Records[0].Header
	h.Places = []timeline.Place{{Name: "shipper", Role: timeline.Shipper, NetNS: 1}, {Name: "other", Role: timeline.Shipper, NetNS: 1}, {Name: "receiver", Role: timeline.Receiver, NetNS: 1}}
	for i, k := range rec.Records {
		if k.Sockets != nil && i > len(rec.Records)/8 {
			k.Sockets.At, k.Sockets.Also = "shipper", []string{"other", "receiver"}
		} else if k.Sockets != nil { // the shipper's place moved in later, as the first
			k.Sockets.At, k.Sockets.Also = "other", []string{"receiver", "shipper"}
		}
	}
	// Any time will do for what the judge looks up by number.
	at := rec.Records[1]
	add := func(b timeline.Body) {
		at.Body = b
		rec.Records = slices.Insert(rec.Records, 2, at)
	}
	for i, name := range []string{"shipper", "other", "receiver"} {
		add(timeline.Body{Party: &timeline.Party{Name: name, At: name, Change: timeline.Started, PID: i + 1}})
	}
	add(timeline.Body{Owner: &timeline.Owner{At: "shipper", Also: []string{"other", "receiver"}, Inode: 777, Process: &sockstate.Owner{PID: 2, Name: "fluentd"}}})
	return rec
}

// theirs is a connection of another shipper that has delivered far more.
func theirs() sockstate.Socket {
	s := healthy()
	s.Local, s.Inode, s.Cookie = netip.MustParseAddrPort("10.50.0.2:50000"), 777, 70
	s.Info = &sockstate.Info{BytesAcked: sockstate.Some[uint64](1 << 30)}
	return s
}

// Of the programs in one namespace each is judged by what is its own.
func TestJudgeOneNamespace(t *testing.T) {
	for name, others := range map[string]func(s int) []sockstate.Socket{
		"nobody else":     func(int) []sockstate.Socket { return nil },
		"another shipper": func(int) []sockstate.Socket { return []sockstate.Socket{theirs()} },
		"another shipper that reconnects": func(s int) []sockstate.Socket {
			k := theirs()
			if s < 30 {
				return []sockstate.Socket{k}
			}
			old := k
			old.State, old.Inode = sockstate.FinWait1, 0
			k.Local = netip.MustParseAddrPort("10.50.0.2:50001")
			return []sockstate.Socket{k, old}
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec := stalls().together(others)
			last := rec.Records[len(rec.Records)-1]
			rec.Records = slices.Insert(rec.Records, len(rec.Records)-1,
				timeline.Record{N: last.N, Time: last.Time, Mono: last.Mono, Body: timeline.Body{Party: &timeline.Party{Name: "other", At: "other", Change: timeline.Exited, PID: 2}}})
			v := Judge(rec, Defaults())
			if v.Verdict != Reproduced || len(v.Shippers) != 2 {
				t.Fatalf("%s: %+v", v.Summary, v.Shippers)
			}
			v = v.Shippers[0]
			if v.Verdict != Reproduced || v.Class != HalfOpen || v.Connection == nil || *v.Connection != flow.New(shipper, receiver) || *v.Receiver != flow.New(receiver, shipper) {
				t.Errorf("%s (%s), connection %v, at the receiver %v\n%+v", v.Summary, v.Class, v.Connection, v.Receiver, v.Criteria)
			}
			if i := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Rule == "receiver's side" }); i < 0 || !strings.Contains(v.Findings[i].Text, "1m0s") {
				t.Errorf("the receiver's side: %+v", v.Findings)
			}
			for _, w := range v.Warnings {
				if strings.Contains(w, "ESTABLISHED") {
					t.Errorf("warning %q", w)
				}
			}
		})
	}
}

// A connection of a process that was not watched, in the shipper's namespace, is not
// the shipper's; where the watched process holds none itself, as a supervisor, those
// of others are.
func TestJudgeStranger(t *testing.T) {
	for _, tt := range []struct {
		holder int
		want   string
	}{{7, NotStalled}, {8, Stalled}} {
		rec := film{ships: []ship{{lines: [][]phase{{{}}, {{}, {at: 10, is: dead}}}}}}.roll()
		at := rec.Records[1]
		for _, b := range []timeline.Body{
			{Owner: &timeline.Owner{At: "filebeat", Inode: 1002, Process: &sockstate.Owner{PID: 99}}},
			{Owner: &timeline.Owner{At: "filebeat", Inode: 1001, Process: &sockstate.Owner{PID: tt.holder}}},
			{Party: &timeline.Party{Name: "filebeat", At: "filebeat", Change: timeline.Started, PID: 7}},
		} {
			at.Body = b
			rec.Records = slices.Insert(rec.Records, 2, at)
		}
		if v := Judge(rec, Defaults()); v.Verdict != tt.want {
			t.Errorf("held by process %d: %q, want %q: %s", tt.holder, v.Verdict, tt.want, v.Summary)
		}
	}
}
