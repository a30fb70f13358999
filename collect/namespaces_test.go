package collect

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/timeline"
)

// Places in one namespace are read by one of them for all, and when that ends by
// the next, under the name of the first that is there.
func TestNamespaceIsReadOnce(t *testing.T) {
	ns, l := inside(t)
	dial(t, ns, l)
	elsewhere, _ := inside(t)
	seen := make(chan *timeline.Sockets, 1<<10)
	rec, err := Open(t.TempDir(), timeline.Header{Tool: "test", Experiment: "halfopen-nat"}, func(r timeline.Record) {
		if r.Sockets != nil {
			seen <- r.Sockets
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close(timeline.End{Reason: timeline.EndDone})

	inode, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	// fluentd is known to be there, the others come from elsewhere
	all := NewNamespaces([]timeline.Place{{Name: "filebeat"}, {Name: "logstash"}, {Name: "fluentd", NetNS: inode}})
	var reading atomic.Int32
	// live is a place's life; over ends it.
	live := func(place string) (over func()) {
		s, err := all.Share(ns, place, func(where Where) []Source {
			return []Source{counted{&reading, &Sockets{At: place, Where: where, NS: ns, Ports: flow.NewPorts(5044), Every: 5 * time.Millisecond}}}
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t.Context(), func(err error) { t.Error(err) }, rec, s)
		return func() { stop(); s.Leave() }
	}
	// sees waits for a reading of these places, the first of them its name.
	sees := func(at string, also ...string) {
		t.Helper()
		timeout := time.After(60 * time.Second)
		for {
			select {
			case s := <-seen:
				if s.At == at && slices.Equal(s.Also, also) && len(s.Sockets) == 3 {
					return
				}
			case <-timeout:
				t.Fatalf("no reading of %s and %v", at, also)
			}
		}
	}
	logstash := live("logstash")
	sees("logstash", "fluentd")
	fluentd := live("fluentd")
	sees("logstash", "fluentd")
	filebeat := live("filebeat")
	sees("filebeat", "logstash", "fluentd")
	logstash() // who reads
	sees("filebeat", "fluentd")
	logstash = live("logstash")
	sees("filebeat", "logstash", "fluentd")
	filebeat() // who waits
	sees("logstash", "fluentd")
	fluentd()
	logstash()
	if n := reading.Load(); n != 0 || len(all.in) > 0 {
		t.Errorf("%d still read, %v", n, all.in)
	}
	if other, err := all.Share(elsewhere, "fluentd", func(Where) []Source { return nil }); err != nil || len(all.in[other.inode]) != 1 {
		t.Errorf("another namespace: %v, %v", all.in, err)
	}
}

// counted fails the recording when more than one of them runs.
type counted struct {
	n *atomic.Int32
	*Sockets
}

func (c counted) Run(ctx context.Context, rec *Recorder) error {
	defer c.n.Add(-1)
	if n := c.n.Add(1); n > 1 {
		return fmt.Errorf("%d read at once", n)
	}
	return c.Sockets.Run(ctx, rec)
}

// A reading that was given up may end after its place has left.
func TestReadingAfterLeave(t *testing.T) {
	ns, _ := inside(t)
	var where Where
	s, err := NewNamespaces([]timeline.Place{{Name: "filebeat"}}).Share(ns, "filebeat", func(w Where) []Source {
		where = w
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Leave()
	if at, also := where(); at != "filebeat" || len(also) > 0 {
		t.Errorf("recorded under %q and %q", at, also)
	}
}
