package collect

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Links records the interfaces by which the watched connections leave a namespace,
// whenever their state or what they have dropped changes.
type Links struct {
	At    string // place
	Where Where  // of the records; nil is At alone
	NS    *netns.NS
	Ports flow.Ports
	Every time.Duration
	// Table, where not nil, tells the ends of connections that are only forwarded.
	Table *middlebox.Conntrack
}

// Run watches until ctx ends.
func (s *Links) Run(ctx context.Context, rec *Recorder) error {
	list, done := s.flows()
	defer done()
	last := map[int]middlebox.Link{}
	err := middlebox.WatchLinks(ctx, s.NS, s.Every, s.ends(list), func(l middlebox.Link) {
		if old, ok := last[l.Index]; ok && sameLink(old, l) {
			return
		}
		last[l.Index] = l
		s.record(rec, l)
	})
	if err != nil && ctx.Err() == nil {
		rec.Fail(nameOf(s), 0, err)
	}
	return nil
}

// Once reads the interfaces as they are.
func (s *Links) Once(_ context.Context, rec *Recorder) {
	list, done := s.flows()
	defer done()
	if err := middlebox.ReadLinks(s.NS, s.ends(list), func(l middlebox.Link) { s.record(rec, l) }); err != nil {
		rec.Fail(nameOf(s), 0, err)
	}
}

func (s *Links) record(rec *Recorder, l middlebox.Link) {
	at, also := s.Where.or(s.At)
	rec.Append(0, timeline.Body{Link: &timeline.Link{At: at, Also: also, Link: l}})
}

// sameLink compares all but how long a queue is, where there is one.
func sameLink(a, b middlebox.Link) bool {
	short := func(l middlebox.Link) middlebox.Link {
		l.Queues = slices.Clone(l.Queues)
		for i := range l.Queues {
			l.Queues[i].Backlog = min(l.Queues[i].Backlog, 1)
		}
		return l
	}
	return reflect.DeepEqual(short(a), short(b))
}

// endsEvery is how often the remote ends are looked for: a dump of the sockets of
// a few ports takes 4 ms among 90,000.
const endsEvery = 5 * time.Second

// ends gives the remote ends of the watched connections.
func (s *Links) ends(flows func() []flow.Flow) func() []netip.Addr {
	var found []netip.Addr
	var next time.Time
	return func() []netip.Addr {
		if time.Now().Before(next) {
			return found
		}
		next = time.Now().Add(endsEvery)
		seen := map[netip.Addr]bool{}
		for _, f := range flows() {
			seen[f.Remote.Addr()] = true
			if s.Table != nil {
				seen[f.Local.Addr()] = true
			}
		}
		if len(seen) > 0 { // else as they were: none may be left when the path is broken
			found = found[:0:0]
			for a := range seen {
				found = append(found, a)
			}
			slices.SortFunc(found, netip.Addr.Compare)
		}
		return found
	}
}

// flows gives what finds the watched connections; others tell why it can't.
func (s *Links) flows() (list func() []flow.Flow, done func()) {
	if s.Table != nil {
		return func() (list []flow.Flow) {
			entries, _ := s.Table.List()
			for _, e := range entries {
				list = append(list, flow.New(e.Orig.Local, e.Reply.Local))
			}
			return list
		}, func() {}
	}
	read, done := func() ([]sockstate.Socket, error) {
		socks, _, err := sockstate.ReadProc(s.NS.ProcRoot(), s.Ports)
		return socks, err
	}, func() {}
	if diag, err := sockstate.OpenDiag(s.NS, s.Ports); err == nil {
		read, done = diag.Dump, func() { diag.Close() }
	}
	return func() (list []flow.Flow) {
		socks, _ := read()
		for _, k := range socks {
			if k.State == sockstate.Established || k.State == sockstate.SynSent {
				list = append(list, k.Flow)
			}
		}
		return list
	}, done
}
