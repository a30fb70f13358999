package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/collect"
	"halfopen/discover"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// ward is a shipper that is looked at.
type ward struct {
	*subject
	view
	shut   error // why its namespace was not entered
	client *beatstats.Client
	looks  []sight
	kin    map[int]bool // processes whose sockets are its too, as far as was asked
}

// sight is one reading.
type sight struct {
	stats timeline.Record // with a Stats or a Failure; neither: not asked
	hung  string          // why the counters were not read in time
	table table
}

// table is the socket table of a namespace, whosever they are.
type table struct {
	began, took time.Duration
	at          time.Time
	sockets     []sockstate.Socket
	via         string
	err         error
}

var errStopped = errors.New("the container does not run")

// slow are the reasons why an endpoint that is there did not answer in time.
var slow = map[beatstats.Reason]bool{beatstats.Unreachable: true, beatstats.HeaderTimeout: true, beatstats.BodyTimeout: true}

// shippersOf leaves out receivers, and routers. Where all were named and none ships,
// each is a shipper all the same.
func shippersOf(subjects []*subject, named bool) (list []*subject, err error) {
	named = named && !slices.ContainsFunc(subjects, func(s *subject) bool { return s.program.Role == discover.Shipper })
	receivers := 0
	for _, s := range subjects {
		switch {
		case named:
			s.program.Role = discover.Shipper
		case s.program.Role != discover.Shipper:
			receivers++
			continue
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, nothingFoundError{fmt.Errorf("no log shipper was found on this host, only %d that receive logs: run it where the shippers are, or name one with --pid, --container or --netns", receivers)}
	}
	return list, nil
}

// admit opens the place of a subject. Where it can't be entered, the table of its
// process can be read from outside.
func (v *visit) admit(s *subject) (*ward, error) {
	w := &ward{subject: s, view: view{name: s.name}, kin: map[int]bool{}}
	w.place = timeline.Place{Name: s.name, Role: discover.Shipper}
	if c := s.program.Container; c != nil && !c.Running {
		w.shut = errStopped
		return w, nil
	}
	ns, err := netns.Open(s.path())
	if err != nil {
		w.shut = notEntered(err)
		if s.netns != "" {
			return nil, fmt.Errorf("check %s: %w", s.what(), notEntered(err))
		}
		w.root = fmt.Sprintf("/proc/%d", s.program.PID)
		return w, nil
	}
	w.ns, w.root = ns, ns.ProcRoot()
	w.place = collect.Place(s.name, discover.Shipper, ns)
	if len(s.program.Stats) > 0 {
		if w.client, err = beatstats.NewClient(ns, s.program.Stats[0], v.asks()); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// asks is how long all endpoints may take together: both readings leave time for the
// rest, however many hang.
func (v *visit) asks() time.Duration { return min(v.asking, (v.o.timeout-v.o.over)/4) }

func (w *ward) close() {
	w.view.close()
	if w.client != nil {
		w.client.Close()
	}
}

// seat names the namespace that the ward is in.
func (w *ward) seat() string {
	if w.ns == nil {
		return fmt.Sprint(w.root, w.shut)
	}
	return fmt.Sprint(w.place.NetNS)
}

// ask reads the counters.
func (w *ward) ask(ctx context.Context, v *visit, l *sight) {
	if w.client == nil {
		return
	}
	defer v.begin("the counters of " + w.subject.name)()
	began := clock.Mono()
	sample, _, err := w.client.Scrape(ctx)
	if err == nil {
		l.stats = stamped(began, timeline.Body{Stats: &timeline.Stats{At: w.subject.name, Name: w.subject.name, Endpoint: w.client.Endpoint(), Sample: sample}})
		return
	}
	l.stats = stamped(began, timeline.Body{Failure: &timeline.Failure{Source: "stats of " + w.subject.name, Error: err.Error()}})
	if e, ok := errors.AsType[*beatstats.Error](err); ok && slow[e.Reason] {
		l.hung = err.Error()
	}
}

// table reads the sockets of the namespace.
func (w *ward) table(v *visit) (t table) {
	defer v.begin("the sockets of " + w.subject.name)()
	t.began = clock.Mono()
	if w.root == "" {
		t.err = w.shut
	} else {
		t.sockets, t.via, t.err = w.sockets(v.ports)
	}
	t.took, t.at = clock.Mono()-t.began, time.Now().UTC()
	return t
}

func stamped(began time.Duration, b timeline.Body) timeline.Record {
	now := clock.Mono()
	return timeline.Record{Time: time.Now().UTC(), Mono: now, Took: now - began, Body: b}
}

// about names the shipper for people.
func (w *ward) about() string {
	p := w.program
	if own, _ := os.Readlink(ownNetNS); p.PID == 0 && w.netns == ownNetNS {
		return "sockets of other users' processes in this network namespace, " + own
	}
	s := w.what()
	if p.Container != nil && p.PID != 0 {
		s += fmt.Sprintf(", process %d (%s)", p.PID, cmp.Or(p.Name, p.Kind))
	}
	return s
}
