package verdict

import (
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// run is a recording sorted by what the judge asks of it, for one shipper. All
// times are monotonic; wall turns them back.
type run struct {
	header   *timeline.Header
	shipper  string          // place
	own      map[string]bool // its names: of the place, of its process, counters and log
	first    timeline.Record
	last     timeline.Record // the last reading: what follows it is the end of the recording, not of the watch
	end      *timeline.End
	acks     []reading[*timeline.Stats] // of the shipper, oldest first
	lives    beatstats.Lives            // of it
	doubts   []doubt                    // of its counters
	conns    []*conn                    // of the shipper to the watched ports
	captures []reading[*timeline.Capture]
	packets  []reading[*timeline.Packets]
	far      []*conn // of the receivers
	looked   lookedAt
	faults   []reading[*timeline.Fault]
	drops    []reading[*timeline.Drops]
	canary   []reading[*timeline.Canary]
	tracked  []reading[*timeline.Conntrack]
	events   []reading[*timeline.Event]
	parties  []reading[*timeline.Party]
	settings []reading[*timeline.Settings]
	failures []reading[*timeline.Failure]
	marks    []reading[*timeline.Mark] // that tell of a drop; of one that loses no packet of the shipper's, without Drop
	rules    []reading[*timeline.Rule] // of the places that its packets pass
	notices  []reading[*timeline.Track]
	// unwatched are the remarks on packet filters that nobody watches.
	unwatched []reading[*timeline.Mark]
	links     []reading[*timeline.Link] // as rules

	ruling []*standing // rules that came meanwhile

	series series // of snapshots

	cut  *cut
	conn *conn // the one that is judged
}

// lookedAt is when the sockets of each side were last read; zero: never.
type lookedAt struct {
	near, far struct {
		at time.Duration
		n  uint64
	}
}

// reading is a record's body with its place in the recording.
type reading[T any] struct {
	n        uint64
	from, at time.Duration // monotonic: when the reading began, and when it was complete
	body     T
}

// read sorts the records by what they say of the shipper at a place.
func read(rec *timeline.Recording, shipper string) *run {
	r := &run{header: rec.Header(), shipper: shipper, first: rec.Records[0], last: rec.Records[0], end: rec.End(), series: seriesOf(rec, shipper)}
	theirs := r.others(rec)
	near, far := newSockets(theirs.inodes), map[string]*sockets{}
	for _, k := range rec.Records {
		if k.Stats != nil || k.Sockets != nil || k.Canary != nil {
			r.last = k
		}
		switch {
		case k.Stats != nil && k.Stats.At == shipper:
			put(&r.acks, k, r.steady(k))
		case k.Sockets != nil:
			if k.Sockets.Of(shipper) {
				near.boot(bootOf(r.header, k), k)
				near.add(k, r.header.Ports, false)
				r.looked.near.at, r.looked.near.n = k.Mono, k.N
			}
			if receiver, ok := r.receiverOf(k.Sockets); ok {
				// Each receiver's readings tell of its own sockets only.
				at := far[receiver]
				if at == nil {
					at = newSockets(nil)
					far[receiver] = at
				}
				at.boot(bootOf(r.header, k), k)
				at.add(k, r.header.Ports, true)
				r.looked.far.at, r.looked.far.n = k.Mono, k.N
			}
		case k.Fault != nil:
			put(&r.faults, k, k.Fault)
		case k.Drops != nil:
			put(&r.drops, k, k.Drops)
		case k.Capture != nil:
			put(&r.captures, k, k.Capture)
		case k.Packets != nil:
			put(&r.packets, k, k.Packets)
		case k.Canary != nil:
			put(&r.canary, k, k.Canary)
		case k.Conntrack != nil:
			put(&r.tracked, k, k.Conntrack)
		case k.Event != nil && k.Event.Name == timeline.Script: // who quotes a log does so later
		case k.Event != nil && !k.Event.Past && !theirs.names[k.Event.Name]:
			put(&r.events, k, k.Event)
		case k.Party != nil && !theirs.names[k.Party.Name]:
			put(&r.parties, k, k.Party)
		case k.Settings != nil && !theirs.names[k.Settings.Name]:
			put(&r.settings, k, k.Settings)
		case k.Failure != nil:
			put(&r.failures, k, k.Failure)
		case k.Mark != nil && (k.Mark.Drop != "" || k.Mark.Table != ""):
			put(&r.marks, k, k.Mark)
		case k.Mark != nil && k.Mark.Unwatched:
			put(&r.unwatched, k, k.Mark)
		case k.Rule != nil && (k.Rule.Of(shipper) || r.role(k.Rule.At) != timeline.Shipper):
			put(&r.rules, k, k.Rule)
		case k.Track != nil && k.Track.Event.Entry != nil:
			put(&r.notices, k, k.Track)
		case k.Link != nil && (k.Link.Of(shipper) || r.role(k.Link.At) != timeline.Shipper):
			put(&r.links, k, k.Link)
		}
	}
	r.conns = near.conns
	for _, p := range r.header.Places { // in an order that does not change
		if s := far[p.Name]; s != nil {
			r.far = append(r.far, s.conns...)
		}
	}
	r.ruling = r.standings()
	r.cut = r.findCut()
	return r
}

func put[T any](list *[]reading[T], k timeline.Record, body T) {
	*list = append(*list, reading[T]{n: k.N, from: k.Mono - k.Took, at: k.Mono, body: body})
}

func (r *run) role(place string) string {
	for _, p := range r.header.Places {
		if p.Name == place {
			return p.Role
		}
	}
	return ""
}

// receiverOf is the first place of a receiver that a reading holds for.
func (r *run) receiverOf(s *timeline.Sockets) (place string, ok bool) {
	i := slices.IndexFunc(r.header.Places, func(p timeline.Place) bool { return p.Role == timeline.Receiver && s.Of(p.Name) })
	if i < 0 {
		return "", false
	}
	return r.header.Places[i].Name, true
}

// foreign is what a recording holds of other programs than the shipper.
type foreign struct {
	inodes map[uint32]bool // their sockets: of two programs in one namespace each has its own
	names  map[string]bool // of other shippers, and of their logs and settings
}

func (r *run) others(rec *timeline.Recording) foreign {
	f := foreign{inodes: map[uint32]bool{}, names: map[string]bool{}}
	pids, mine := map[int]bool{}, map[int]bool{}
	own := map[string]bool{}
	note := func(at, name string) {
		switch {
		case at == r.shipper:
			own[name] = true
		case r.role(at) == timeline.Shipper:
			f.names[name] = true
		}
	}
	for _, p := range r.header.Places {
		note(p.Name, p.Name)
	}
	for _, k := range rec.Records {
		switch {
		case k.Stats != nil:
			note(k.Stats.At, k.Stats.Name)
		case k.Party != nil:
			note(k.Party.At, k.Party.Name)
			switch {
			case k.Party.PID == 0:
			case k.Party.At == r.shipper:
				mine[k.Party.PID] = true
			default:
				pids[k.Party.PID] = true
			}
		}
	}
	for name := range own {
		delete(f.names, name)
	}
	r.own = own
	alone := r.holdsItsOwn(rec, mine)
	for _, k := range rec.Records {
		if o := k.Owner; o != nil && o.Process != nil && (pids[o.Process.PID] || alone && !mine[o.Process.PID]) {
			f.inodes[o.Inode] = true
		}
	}
	return f
}

// holdsItsOwn reports whether one of the processes that are the shipper was seen to
// hold a connection to a watched port. Then those of other processes in the namespace
// are not the shipper's; else it may have others hold them, as a supervisor does.
func (r *run) holdsItsOwn(rec *timeline.Recording, mine map[int]bool) bool {
	shipping := map[uint32]bool{}
	for _, k := range rec.Records {
		if k.Sockets == nil || !k.Sockets.Of(r.shipper) {
			continue
		}
		for _, s := range k.Sockets.Sockets {
			if s.State != sockstate.Listen && s.Inode != 0 && r.header.Ports.Has(s.Remote.Port()) {
				shipping[s.Inode] = true
			}
		}
	}
	return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Owner != nil && k.Owner.Process != nil && mine[k.Owner.Process.PID] && shipping[k.Owner.Inode]
	})
}

// sysctls are those of the shipper's place, nil where they were not read.
func (r *run) sysctls() *sockstate.Sysctls {
	for _, p := range r.header.Places {
		if p.Name == r.shipper && p.Role == timeline.Shipper {
			return p.Sysctls
		}
	}
	return nil
}

// wall is the wall clock at a monotonic time, by the first record's two clocks:
// one offset for the whole recording, so that a step of the clock moves nothing.
func (r *run) wall(mono time.Duration) time.Time {
	return r.first.Time.UTC().Add(mono - r.first.Mono)
}
