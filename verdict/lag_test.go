package verdict

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"halfopen/beatstats"
)

// counters is a sample with what the lag is told from.
func counters(id string, published, acked, pending int64) beatstats.Sample {
	v := func(n int64) *beatstats.Value { return &beatstats.Value{N: n} }
	return beatstats.Sample{Kind: beatstats.Beat, ID: id, Published: v(published), Acked: v(acked), Pending: v(pending), Capacity: v(1000)}
}

// metered reads a course a second apart.
func metered(course ...beatstats.Sample) *Meter {
	m := &Meter{}
	for i, s := range course {
		m.Add(time.Duration(i)*time.Second, uint64(i+1), s)
	}
	return m
}

// course is so many seconds of counters.
func course(seconds int, at func(s int64) beatstats.Sample) (list []beatstats.Sample) {
	for s := range seconds {
		list = append(list, at(int64(s)))
	}
	return list
}

func TestLag(t *testing.T) {
	s := time.Second
	stalledAt20 := func(sec int64) beatstats.Sample {
		return counters("a", 10*sec, 10*min(sec, 20), 10*max(0, sec-20))
	}
	tests := []struct {
		name   string
		meter  *Meter
		after  time.Duration // how long after the last reading
		ack    Age
		oldest *Age
		rates  string // "over=per second", joined by spaces
		full   time.Duration
	}{
		{"all acknowledged", metered(course(30, func(s int64) beatstats.Sample { return counters("a", 10*s, 10*s, 0) })...), 0, Age{}, nil, "10s=10", 0},
		{"stalled", metered(course(81, stalledAt20)...), 0, Age{For: 60 * s}, &Age{For: 59 * s}, "10s=0 1m0s=0", 40 * s},
		{"stalled, a little later", metered(course(81, stalledAt20)...), 500 * time.Millisecond, Age{For: 60500 * time.Millisecond}, &Age{For: 59500 * time.Millisecond}, "10s=0 1m0s=0", 39500 * time.Millisecond},
		{"stalled before the first reading", metered(course(30, func(s int64) beatstats.Sample { return counters("a", 500+s, 100, 400+s) })...), 0,
			Age{For: 29 * s, AtLeast: true}, &Age{For: 29 * s, AtLeast: true}, "10s=0", 571 * s},
		{"a second behind", metered(course(20, func(s int64) beatstats.Sample { return counters("a", 10*s, 10*max(0, s-1), 10*min(s, 1)) })...), 0, Age{}, &Age{}, "10s=10", 0},
		{"three seconds behind", metered(course(20, func(s int64) beatstats.Sample { return counters("a", 10*s, 10*max(0, s-3), 10*min(s, 3)) })...), 0, Age{}, &Age{For: 2 * s}, "10s=10", 0},
		{"idle for long", metered(course(40, func(s int64) beatstats.Sample { return counters("a", 10*min(s, 20), 10*min(s, 20), 0) })...), 0, Age{For: 19 * s}, nil, "10s=0", 0},
		{"dropped events do not wait", metered(course(20, func(s int64) beatstats.Sample { return counters("a", 10*s, 5*s, 0) })...), 0, Age{}, nil, "10s=5", 0},
		{"restarted", metered(append(course(30, func(s int64) beatstats.Sample { return counters("a", 10*s, 10*s, 0) }),
			course(10, func(s int64) beatstats.Sample { return counters("b", 10*s, min(10*s, 50), max(0, 10*s-50)) })...)...), 0,
			Age{For: 4 * s}, &Age{For: 3 * s}, "10s=5", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			last := tt.meter.points[len(tt.meter.points)-1].at
			l, ok := tt.meter.Lag(last + tt.after)
			if !ok || l.SinceAck == nil || *l.SinceAck != tt.ack {
				t.Errorf("since the last ack %+v, want %+v", l.SinceAck, tt.ack)
			}
			if (l.Oldest == nil) != (tt.oldest == nil) || l.Oldest != nil && *l.Oldest != *tt.oldest {
				t.Errorf("oldest %+v, want %+v", l.Oldest, tt.oldest)
			}
			var rates []string
			for _, r := range l.Rates {
				rates = append(rates, fmt.Sprintf("%s=%g", r.Over, r.PerSecond))
			}
			if got := strings.Join(rates, " "); got != tt.rates {
				t.Errorf("rates %q, want %q", got, tt.rates)
			}
			var full time.Duration
			if l.Full != nil {
				full = l.Full.In
			}
			if full != tt.full {
				t.Errorf("full in %s, want %s", full, tt.full)
			}
		})
	}
	if _, ok := (&Meter{}).Lag(0); ok {
		t.Error("a lag without a reading")
	}
}

// What a counter does not tell is not told.
func TestLagUnknown(t *testing.T) {
	bare := beatstats.Sample{Kind: beatstats.Fluentd, Acked: &beatstats.Value{N: 5}, Pending: &beatstats.Value{N: 7}}
	corrupt := counters("a", 10, 5, 5)
	corrupt.Published.Corrupt, corrupt.Pending.Corrupt = "made", "made"
	for name, s := range map[string]beatstats.Sample{"chunks": bare, "corrupt": corrupt, "nothing": {}} {
		l, ok := metered(s, s).Lag(time.Hour)
		if !ok || l.Oldest != nil || l.Full != nil || len(l.Rates) > 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// However long a run goes on, and however often it restarts, memory is bounded and
// the ages stay within what was watched.
func TestLagOfAnyCourse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Meter
		var published, acked int64
		ackAt := time.Duration(-1)
		at := time.Duration(0)
		id := "a"
		for i := range rapid.IntRange(1, 3*maxPoints).Draw(t, "readings") {
			at += time.Second
			published += int64(i%7) * 3
			switch i % 97 {
			case 0:
				if acked < published-3 {
					acked, ackAt = published-3, at
				}
			case 96:
				if rapid.IntRange(0, 20).Draw(t, "restart") == 0 {
					published, acked, id = 0, 0, id+"a"
				}
			}
			m.Add(at, uint64(i+1), counters(id, published, acked, published-acked))
		}
		l, ok := m.Lag(at)
		if !ok || len(m.points) > maxPoints {
			t.Fatalf("%v, %d points", ok, len(m.points))
		}
		if l.SinceAck == nil || l.SinceAck.For < 0 || l.SinceAck.For > at || ackAt > 0 && !l.SinceAck.AtLeast && id == "a" && l.SinceAck.For != at-ackAt {
			t.Errorf("since the last ack %+v at %s, it was at %s", l.SinceAck, at, ackAt)
		}
		if l.Oldest != nil && (l.Oldest.For < 0 || l.Oldest.For > at) {
			t.Errorf("oldest %+v at %s", l.Oldest, at)
		}
		for _, r := range l.Rates {
			if math.IsNaN(r.PerSecond) || math.IsInf(r.PerSecond, 0) || r.PerSecond < 0 {
				t.Errorf("rate %+v", r)
			}
		}
	})
}

// Two readings at one moment tell no rate: JSON has no infinite number.
// Another service that takes the port for a while is no restart of the shipper.
func TestLagOtherServiceBetween(t *testing.T) {
	other := beatstats.Sample{Kind: beatstats.Logstash, ID: "b"}
	same := counters("a", 1000, 540, 460)
	lag, ok := metered(same, same, other, same, same).Lag(4 * time.Second)
	if !ok || lag.SinceAck == nil || lag.SinceAck.For != 4*time.Second {
		t.Errorf("%+v, want no ack since the first reading", lag)
	}
}

func TestLagAtOnce(t *testing.T) {
	var m Meter
	m.Add(0, 1, counters("a", 10, 0, 10))
	m.Add(0, 2, counters("a", 20, 0, 20))
	if l, ok := m.Lag(10 * time.Second); !ok || l.Full != nil || *l.Waiting != 20 {
		t.Errorf("%+v, %v", l, ok)
	}
}

func TestPublishedPerSecond(t *testing.T) {
	y := stalls()
	y.published = func(s int) int64 { return int64(10 * s) }
	rec := y.tell()
	if rate, ok := PublishedPerSecond(rec); !ok || math.Abs(rate-10) > 0.1 {
		t.Errorf("%g, %v", rate, ok)
	}
	y.published = nil
	if rate, ok := PublishedPerSecond(y.tell()); ok {
		t.Errorf("%g without a counter", rate)
	}
}
