package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/clock"
	"halfopen/collect"
	"halfopen/container"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// judge makes a recording in memory of what was seen, and judges it.
func (v *visit) judge() verdict.Checkup {
	v.mu.Lock()
	defer v.mu.Unlock()
	head := &timeline.Header{Tool: "halfopen " + version, Ports: v.ports}
	rec := &timeline.Recording{Records: []timeline.Record{{Time: v.began.UTC(), Mono: v.mono, Body: timeline.Body{Header: head}}}}
	for _, w := range v.wards {
		head.Places = append(head.Places, w.place)
		if cfg := w.program.Settings; cfg != nil {
			timeout := cfg.OutputTimeout()
			rec.Records = append(rec.Records, timeline.Record{Time: v.began.UTC(), Mono: v.mono, Body: timeline.Body{Settings: &timeline.Settings{Name: w.subject.name, File: w.program.Config, Timeout: &timeout}}})
		}
	}
	var readings []timeline.Record
	for _, w := range v.wards {
		for _, l := range w.looks {
			if l.stats.Stats != nil || l.stats.Failure != nil {
				readings = append(readings, l.stats)
			}
			readings = append(readings, v.sorted(w, l.table))
		}
		if p := w.program; p.PID != 0 && len(w.looks) > 0 && !lives(p) {
			readings = append(readings, timeline.Record{Time: time.Now().UTC(), Mono: clock.Mono(), Body: timeline.Body{
				Party: &timeline.Party{Name: w.subject.name, At: w.subject.name, Change: timeline.Exited, PID: p.PID},
			}})
		}
	}
	slices.SortStableFunc(readings, func(a, b timeline.Record) int { return cmp.Compare(a.Mono, b.Mono) })
	rec.Records = append(rec.Records, readings...)
	for i := range rec.Records {
		rec.Records[i].N = uint64(i + 1)
	}
	c := verdict.Check(rec, v.o.th)
	for i := range c.Shippers {
		v.tell(&c.Shippers[i])
	}
	for _, w := range v.wards {
		for _, l := range w.looks {
			if l.hung != "" {
				c.Miss("the counters of " + w.subject.name + ": " + l.hung)
				break
			}
		}
	}
	return c
}

// sorted is what a socket table holds of a ward.
func (v *visit) sorted(w *ward, t table) timeline.Record {
	r := timeline.Record{Time: t.at, Mono: t.began + t.took, Took: t.took}
	if t.err != nil {
		r.Failure = &timeline.Failure{Source: "sockets of " + w.subject.name, Error: t.err.Error()}
		return r
	}
	r.Sockets = &timeline.Sockets{At: w.subject.name, Via: t.via, Readings: 1}
	for _, s := range t.sockets {
		if v.has(w, s) {
			r.Sockets.Sockets = append(r.Sockets.Sockets, s)
		}
	}
	return r
}

// tell adds what the search said of a shipper.
func (v *visit) tell(s *verdict.ShipperCheck) {
	for _, w := range v.wards {
		if w.subject.name != s.Name {
			continue
		}
		s.What = w.about()
		if w.shut != nil {
			s.Notes = append(s.Notes, w.shut.Error())
		}
		if s.Count == nil {
			s.Next = cmp.Or(w.unseen(), s.Next)
		}
		if w.root != "" && w.ns == nil {
			s.Notes = append(s.Notes, fmt.Sprintf("its sockets were read from %s/net/tcp instead, without tcp_info, and its counters were not asked for", w.root))
		}
		if n := len(w.looks); n > 0 && w.ns != nil && w.looks[n-1].table.via == collect.Procfs {
			s.Notes = append(s.Notes, "inet_diag can't be had: the sockets were read from /proc, without tcp_info")
		}
		for _, m := range w.program.Missing {
			if !strings.HasPrefix(m, "its counters") || s.Counters == nil {
				s.Notes = append(s.Notes, m)
			}
		}
	}
}

// unseen is what to do about sockets that could not be read for a reason that is
// known, else "".
func (w *ward) unseen() string {
	for _, l := range w.looks {
		switch err := l.table.err; {
		case errors.Is(err, errStopped):
			return "start it, or name others: --container, --pid"
		case errors.Is(err, os.ErrNotExist):
			return "run it again: the process has ended meanwhile"
		case errors.Is(err, os.ErrPermission):
			return `run it as root; "halfopen doctor" names what is missing`
		}
	}
	return ""
}

// has reports whether a socket is a ward's: held by its process, by a descendant of
// it, or by another in its container. What nobody is seen to hold goes to the place
// that stands for those.
func (v *visit) has(w *ward, s sockstate.Socket) bool {
	owner, pid := v.owners[s.Inode], w.program.PID
	switch {
	case s.State == sockstate.Listen:
		return false
	case s.Inode == 0: // what is left of a closed connection
		return len(v.wards) == 1
	case owner.PID == 0 && pid != 0:
		return !v.hidden || !slices.ContainsFunc(v.wards, func(o *ward) bool { return o.program.PID == 0 && o.seat() == w.seat() })
	case owner.PID == 0 || pid == 0 && !v.watched(owner.PID):
		return true
	}
	theirs, asked := w.kin[owner.PID]
	if !asked {
		theirs = w.akin(owner.PID)
		w.kin[owner.PID] = theirs
	}
	return theirs
}

// akin reports whether another process is part of the ward.
func (w *ward) akin(pid int) bool {
	if w.program.Container != nil {
		id, _, _ := container.OfPID(pid)
		return id == w.program.Container.ID
	}
	return descends(pid, w.program.PID)
}

func (v *visit) watched(pid int) bool {
	return slices.ContainsFunc(v.wards, func(w *ward) bool { return w.program.PID == pid })
}

// descends reports whether a process is another, or a descendant of it.
func descends(pid, from int) bool {
	for range 64 { // generations, more than there are
		if pid == from {
			return true
		}
		p, err := procfs.NewProc(pid)
		if err != nil {
			return false
		}
		stat, err := p.Stat()
		if err != nil || stat.PPID <= 1 {
			return false
		}
		pid = stat.PPID
	}
	return false
}
