package verdict

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// story is a run of a lab told second by second: a cut from second 10 to 20, and
// the end after second 65.
type story struct {
	seconds       int
	cut, open     int // the cut begins and ends; -1: never
	acked         func(s int) int64
	pending       func(s int) int64
	published     func(s int) int64 // nil: not counted
	sock          func(s int) []sockstate.Socket
	canary        func(s int) bool
	dropped       uint64
	timeout       time.Duration
	events        map[int]string // patterns of lines of the shipper's log
	exits         map[int]string // names of parties that exit
	undo          int            // second at which the cut is taken back; 0: never
	restart       int            // second at which the shipper has a new identity
	noStats       bool
	statsHole     [2]int // seconds between which the counters are not read
	method        string
	statsUntil    int // second of the last reading of the counters; 0: to the end
	lint          []beatstats.Finding
	cutShort      bool
	withoutCanary bool
}

// stalls is the plain half-open stall; the others are changes of it.
func stalls() story {
	return story{
		seconds: 65, cut: 10, open: 20, dropped: 14, timeout: 24 * time.Hour,
		acked:   func(s int) int64 { return int64(10 * min(s, 10)) },
		pending: func(s int) int64 { return int64(10 * max(0, s-10)) },
		canary:  func(s int) bool { return s < 10 || s >= 20 },
		sock: func(s int) []sockstate.Socket {
			if s <= 10 {
				return []sockstate.Socket{healthy()}
			}
			return []sockstate.Socket{stuck(s - 10)}
		},
	}
}

var (
	shipper  = netip.MustParseAddrPort("10.50.0.2:33342")
	receiver = netip.MustParseAddrPort("10.51.0.2:5044")
)

func healthy() sockstate.Socket {
	return sockstate.Socket{
		Flow: flow.New(shipper, receiver), State: sockstate.Established, Timer: sockstate.TimerKeepalive,
		Inode: 18485, Cookie: 7, Info: &sockstate.Info{RTO: 200 * time.Millisecond, BytesAcked: sockstate.Some[uint64](5000)},
	}
}

// stuck is the same socket when nothing has answered for so many seconds.
func stuck(silent int) sockstate.Socket {
	s := healthy()
	age := time.Duration(silent) * time.Second
	s.Timer, s.TimerIn, s.Retransmits, s.SendQ = sockstate.TimerRetransmit, time.Second, uint32(min(silent, 8)), 1002
	s.Info = &sockstate.Info{RTO: 25600 * time.Millisecond, Backoff: 7, LastDataRecv: age, LastAckRecv: age, Unacked: 1, Lost: 1}
	return s
}

// another is the connection that a shipper makes instead.
func another() sockstate.Socket {
	s := healthy()
	s.Local, s.Cookie = netip.MustParseAddrPort("10.50.0.2:40000"), 9
	return s
}

// timesOut: the shipper's own timeout of 12 s ends the connection at second 22.
func timesOut(y *story) {
	y.timeout = 12 * time.Second
	y.acked = func(s int) int64 { return int64(10*min(s, 10)) + int64(10*max(0, s-23)) }
	y.sock = func(s int) []sockstate.Socket {
		old := stuck(s - 10)
		switch {
		case s <= 10:
			return []sockstate.Socket{healthy()}
		case s < 22:
			return []sockstate.Socket{old}
		}
		old.State, old.Inode = sockstate.FinWait1, 0
		return []sockstate.Socket{another(), old}
	}
	y.events = map[int]string{22: "filebeat-io-timeout"}
}

// ends: the connection is in the given state, or gone (CLOSE), at second 40, and
// the shipper's log has a line of that pattern.
func ends(y *story, state sockstate.State, pattern string) {
	y.acked = func(s int) int64 { return int64(10*min(s, 10)) + int64(10*max(0, s-40)) }
	y.sock = func(s int) []sockstate.Socket {
		old := stuck(s - 10)
		switch {
		case s <= 10:
			return []sockstate.Socket{healthy()}
		case s < 40:
			return []sockstate.Socket{old}
		case state == sockstate.Close:
			return []sockstate.Socket{another()}
		}
		old.State = state
		return []sockstate.Socket{another(), old}
	}
	y.events = map[int]string{}
	if pattern != "" {
		y.events[40] = pattern
	}
}

func (y story) tell() *timeline.Recording {
	rec := &timeline.Recording{Path: "/evidence/halfopen-nat-20260102-030405-timeline.jsonl"}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var second int
	add := func(b timeline.Body) {
		n := len(rec.Records)
		at := time.Duration(second)*time.Second + time.Duration(n%50)*time.Millisecond
		rec.Records = append(rec.Records, timeline.Record{N: uint64(n + 1), Time: began.Add(at), Mono: time.Hour + at, Body: b})
	}
	add(timeline.Body{Header: &timeline.Header{Format: 1, Method: y.method, Ports: flow.NewPorts(5044), Places: []timeline.Place{
		{Name: "shipper", Role: timeline.Shipper, Sysctls: &sockstate.Sysctls{}}, {Name: "receiver", Role: timeline.Receiver}, {Name: "router", Role: timeline.Router},
	}}})
	add(timeline.Body{Settings: &timeline.Settings{Name: "filebeat", Timeout: &y.timeout, Findings: y.lint}})
	step := func(name string) timeline.Body {
		at := began.Add(time.Duration(second) * time.Second)
		return timeline.Body{Fault: &timeline.Fault{At: "router", Method: "c", Step: fault.Step{Name: name, Start: at, End: at, Mono: time.Hour + time.Duration(second)*time.Second}}}
	}
	for second = 0; second <= y.seconds; second++ {
		if second == y.cut {
			add(step("drop"))
		}
		if second == y.open {
			add(step("forget"))
		}
		if y.undo > 0 && second == y.undo {
			add(step("undo"))
		}
		if y.cut >= 0 && second >= y.cut {
			add(timeline.Body{Drops: &timeline.Drops{At: "router", Counters: []fault.Counter{{Step: "drop", Packets: y.dropped, Bytes: 60 * y.dropped}}}})
		}
		add(timeline.Body{Sockets: &timeline.Sockets{At: "shipper", Via: "diag", Readings: 1, Sockets: y.sock(second)}})
		if !y.noStats && (second <= y.statsHole[0] || second >= y.statsHole[1]) && (y.statsUntil == 0 || second <= y.statsUntil) {
			add(y.stats(second))
		}
		if !y.withoutCanary {
			add(timeline.Body{Canary: &timeline.Canary{Passed: y.canary(second)}})
		}
		if pattern, ok := y.events[second]; ok {
			add(timeline.Body{Event: &timeline.Event{Name: "filebeat", Pattern: pattern, Means: "the test says so"}})
		}
		if name, ok := y.exits[second]; ok {
			add(timeline.Body{Party: &timeline.Party{Name: name, Change: timeline.Exited, How: "exit status 1"}})
		}
	}
	if !y.cutShort {
		add(timeline.Body{End: &timeline.End{Reason: "done"}})
	}
	return rec
}

func (y story) stats(s int) timeline.Body {
	up := time.Duration(s) * time.Second
	id := "first"
	if y.restart > 0 && s >= y.restart {
		id, up = "second", up-time.Duration(y.restart)*time.Second
	}
	value := func(n int64) *beatstats.Value { return &beatstats.Value{N: n} }
	var published *beatstats.Value
	if y.published != nil {
		published = value(y.published(s))
	}
	return timeline.Body{Stats: &timeline.Stats{At: "shipper", Name: "filebeat", Sample: beatstats.Sample{
		Kind: beatstats.Beat, ID: id, Uptime: &up, Published: published, Acked: value(y.acked(s)), Pending: value(y.pending(s)), Capacity: value(4096),
	}}}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		change  func(y *story)
		verdict string
		class   Class
		by      string
		says    string // part of the summary
	}{
		{name: "half-open", change: func(*story) {}, verdict: Reproduced, class: HalfOpen, says: "stalled for 4"},
		{name: "queue already full", change: func(y *story) {
			y.pending = func(int) int64 { return 4096 }
		}, verdict: Reproduced, class: HalfOpen},
		{name: "nothing waits", change: func(y *story) {
			y.pending = func(int) int64 { return 0 }
		}, verdict: Inconclusive, says: "waiting events"},
		{name: "silent peer, nothing met the cut", change: func(y *story) {
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}, verdict: Inconclusive, says: "nothing unacknowledged in flight"},
		{name: "frozen shipper", change: func(y *story) { y.statsHole = [2]int{12, 60} }, verdict: Inconclusive, says: "could act at all"},
		{name: "stopped before the cut", change: func(y *story) {
			y.seconds, y.method = 8, timeline.MethodTransient
			y.acked = func(s int) int64 { return int64(10 * s) }
		}, verdict: Inconclusive, says: "ended before the path was cut"},
		{name: "silent peer", change: func(y *story) {
			y.cut, y.open = -1, -1
			y.sock = func(s int) []sockstate.Socket {
				k := healthy()
				k.Info.LastDataRecv = time.Duration(max(0, s-10)) * time.Second
				return []sockstate.Socket{k}
			}
		}, verdict: Stalled, class: SilentPeer},
		{name: "never delivered", change: func(y *story) {
			y.acked = func(int) int64 { return 0 }
			y.lint = []beatstats.Finding{{Level: "error", Setting: "output.logstash.timeout", Value: "0s", What: "every write fails", Why: "the deadline is past"}}
		}, verdict: Inconclusive, says: "output.logstash.timeout"},
		{name: "stood still before", change: func(y *story) {
			y.acked = func(s int) int64 { return int64(min(s, 2)) }
		}, verdict: Inconclusive, says: "stood still for"},
		{name: "counters never read", change: func(y *story) { y.noStats = true }, verdict: Inconclusive, says: "never read"},
		{name: "receiver gone before", change: func(y *story) {
			y.sock = func(s int) []sockstate.Socket {
				if s < 9 {
					return []sockstate.Socket{healthy()}
				}
				return nil
			}
			y.exits = map[int]string{9: "logstash"}
		}, verdict: Inconclusive, says: "logstash had exited"},
		{name: "cut missed", change: func(y *story) { y.dropped = 0 }, verdict: Inconclusive, says: "dropped not one packet"},
		{name: "acks during the cut", change: func(y *story) { y.acked = func(s int) int64 { return int64(10 * s) } }, verdict: Inconclusive, says: "missed the connection"},
		{name: "killed in the cut", change: func(y *story) { y.seconds, y.cutShort = 15, true }, verdict: Inconclusive, says: "ends while the path was cut"},
		{name: "horizon too short", change: func(y *story) { y.seconds = 45 }, verdict: Inconclusive, says: "at least 30s"},
		{name: "path never open again", change: func(y *story) { y.canary = func(s int) bool { return s < 10 } }, verdict: Inconclusive, says: "may still be shut"},
		{name: "path open for a moment only", change: func(y *story) { y.canary = func(s int) bool { return s < 10 || s == 20 } }, verdict: Inconclusive, says: "may still be shut"},
		{name: "stopped in the cut", change: func(y *story) { y.seconds, y.open, y.undo = 15, -1, 15 }, verdict: Inconclusive, says: "stopped while the path was cut"},
		{name: "no canary", change: func(y *story) { y.withoutCanary = true }, verdict: Inconclusive, says: "may still be shut"},
		{name: "own timeout", change: timesOut, verdict: Recovered, by: ByTimeout, says: "12"},
		{name: "kernel gave up", change: func(y *story) {
			y.acked = func(s int) int64 { return int64(10*min(s, 10)) + int64(10*max(0, s-40)) }
			y.sock = func(s int) []sockstate.Socket {
				if s <= 10 {
					return []sockstate.Socket{healthy()}
				}
				if s < 40 {
					return []sockstate.Socket{stuck(s - 10)}
				}
				again := healthy()
				again.Local, again.Cookie = netip.MustParseAddrPort("10.50.0.2:40000"), 9
				return []sockstate.Socket{again}
			}
			y.events = map[int]string{40: "filebeat-kernel-timeout"}
		}, verdict: Recovered, by: ByKernel},
		{name: "the old connection carries on", change: func(y *story) {
			y.acked = func(s int) int64 { return int64(10*min(s, 10)) + int64(10*max(0, s-21)) }
			y.sock = func(s int) []sockstate.Socket {
				if s <= 10 || s > 21 {
					return []sockstate.Socket{healthy()}
				}
				return []sockstate.Socket{stuck(s - 10)}
			}
		}, verdict: Recovered, by: ByResume},
		{name: "restarted", change: func(y *story) {
			y.restart = 40
			y.acked = func(s int) int64 {
				if s >= 40 {
					return int64(s - 39)
				}
				return int64(10 * min(s, 10))
			}
			y.sock = func(s int) []sockstate.Socket {
				if s <= 10 {
					return []sockstate.Socket{healthy()}
				}
				if s < 40 {
					return []sockstate.Socket{stuck(s - 10)}
				}
				again := healthy()
				again.Local, again.Cookie = netip.MustParseAddrPort("10.50.0.2:40000"), 9
				return []sockstate.Socket{again}
			}
		}, verdict: Recovered, by: ByRestart},
		{name: "own timeout, and a restart later", change: func(y *story) {
			timesOut(y)
			y.restart = 55
			acked := y.acked
			y.acked = func(s int) int64 {
				if s >= 55 {
					return int64(s - 55)
				}
				return acked(s)
			}
		}, verdict: Recovered, by: ByTimeout},
		{name: "another connection delivers", change: func(y *story) {
			y.acked = func(s int) int64 { return int64(10*min(s, 10)) + int64(10*max(0, s-39)) }
			y.sock = func(s int) []sockstate.Socket {
				if s <= 10 {
					return []sockstate.Socket{healthy()}
				}
				if s < 39 {
					return []sockstate.Socket{stuck(s - 10)}
				}
				return []sockstate.Socket{stuck(s - 10), another()}
			}
		}, verdict: Recovered, by: ByUnknownEnd},
		{name: "receiver's FIN", change: func(y *story) { ends(y, sockstate.CloseWait, "") }, verdict: Recovered, by: ByFIN},
		{name: "RST", change: func(y *story) { ends(y, sockstate.Close, "filebeat-reset") }, verdict: Recovered, by: ByReset},
		{name: "socket destroyed", change: func(y *story) { ends(y, sockstate.Close, "filebeat-aborted") }, verdict: Recovered, by: ByDestroy},
		{name: "keepalive", change: func(y *story) {
			ends(y, sockstate.Close, "filebeat-kernel-timeout")
			sock := y.sock
			y.sock = func(s int) []sockstate.Socket {
				list := sock(s)
				if s > 10 && s < 40 {
					list[0].Timer, list[0].SendQ = sockstate.TimerKeepalive, 0
				}
				return list
			}
		}, verdict: Recovered, by: ByKeepalive},
		{name: "an error in the log", change: func(y *story) { y.events = map[int]string{50: "filebeat-io-timeout"} }, verdict: Inconclusive, says: "told of an error"},
		{name: "counters die, no cut", change: func(y *story) {
			y.cut, y.open, y.statsUntil = -1, -1, 20
			y.acked = func(s int) int64 { return int64(10 * s) }
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}, verdict: Inconclusive, says: "last read"},
		{name: "not connected, no cut", change: func(y *story) {
			y.cut, y.open = -1, -1
			y.sock = func(int) []sockstate.Socket { return nil }
		}, verdict: Inconclusive, class: NotConnected, says: "not connected"},
		{name: "restarted just before the end", change: func(y *story) {
			y.cut, y.open, y.restart = -1, -1, 65
			y.acked = func(s int) int64 {
				if s >= 65 {
					return 0
				}
				return int64(10 * s)
			}
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}, verdict: NotStalled},
		{name: "no cut, healthy", change: func(y *story) {
			y.cut, y.open = -1, -1
			y.acked = func(s int) int64 { return int64(10 * s) }
			y.pending = func(int) int64 { return 0 }
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}, verdict: NotStalled},
		{name: "no cut, idle", change: func(y *story) {
			y.cut, y.open = -1, -1
			y.acked = func(s int) int64 { return int64(min(s, 5)) }
			y.pending = func(int) int64 { return 0 }
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}, verdict: NotStalled, says: "nothing waits"},
		{name: "no cut known, stalled", change: func(y *story) { y.cut, y.open = -1, -1 }, verdict: Stalled, class: HalfOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := stalls()
			tt.change(&y)
			v := Judge(y.tell(), Defaults())
			if v.Verdict != tt.verdict || v.Class != tt.class || !strings.Contains(v.Summary, tt.says) {
				t.Errorf("verdict %q, class %q, %q; want %q, class %q, something with %q", v.Verdict, v.Class, v.Summary, tt.verdict, tt.class, tt.says)
			}
			if tt.by != "" && (v.Recovery == nil || v.Recovery.By != tt.by) {
				t.Errorf("recovery %+v, want by %s", v.Recovery, tt.by)
			}
			for _, list := range [][]Finding{v.Gates, v.Criteria, v.Findings} {
				for _, f := range list {
					if len(f.Records) == 0 {
						t.Errorf("finding %q rests on no record: %s", f.Rule, f.Text)
					}
				}
			}
		})
	}
}

// A recording cut anywhere gets a verdict, and never "reproduced" before its
// horizon.
func TestJudgeAnyPrefix(t *testing.T) {
	whole := stalls().tell()
	for n := 1; n <= len(whole.Records); n++ {
		part := *whole
		part.Records = whole.Records[:n]
		v := Judge(&part, Defaults())
		watched := part.Records[n-1].Mono - time.Hour - 20*time.Second
		if v.Verdict == "" || v.Verdict == Reproduced && watched < 30*time.Second {
			t.Fatalf("verdict on the first %d records: %q, %s", n, v.Verdict, v.Summary)
		}
	}
}

// The same records give the same bytes.
func TestJudgeIsPure(t *testing.T) {
	spell := func() string {
		b, err := json.Marshal(Judge(stalls().tell(), Defaults()))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := spell(), spell(); a != b {
		t.Errorf("two verdicts on one recording:\n%s\n%s", a, b)
	}
}
