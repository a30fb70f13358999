package verdict

import (
	"fmt"
	"time"

	"halfopen/middlebox"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// forgot is when a connection tracking on the path let go of a connection whose
// socket lived on.
type forgot struct {
	place    string
	entry    middlebox.Entry
	from, at time.Duration // it happened between
	records  []uint64
	told     bool // by the kernel's own notice
	again    *middlebox.Entry
	againN   uint64
	againAt  time.Duration
}

// forgets lists when the entries of a connection were gone while it was ESTABLISHED,
// and what came in their place.
func (r *run) forgets(c *conn) (list []*forgot) {
	for _, k := range r.notices {
		e := k.body.Event
		if e.Kind == middlebox.Destroy && e.Entry.Orig == c.flow && c.outlived(k.at) {
			list = append(list, &forgot{place: k.body.At, entry: *e.Entry, from: k.from, at: k.at, records: []uint64{k.n}, told: true})
		}
	}
	before := map[string]reading[*timeline.Conntrack]{}
	for _, k := range r.tracked {
		last, known := before[k.body.At]
		before[k.body.At] = k
		if !known {
			continue
		}
		old, was := entryFor(last.body, c)
		// An entry made anew within the same reading has another id.
		if now, is := entryFor(k.body, c); was && (!is || now.ID != old.ID) && c.outlived(k.at) && !toldBetween(list, k.body.At, last.from, k.at) {
			list = append(list, &forgot{place: k.body.At, entry: old, from: last.from, at: k.at, records: []uint64{last.n, k.n}})
		}
	}
	for _, f := range list {
		r.madeAnew(f, c)
	}
	return list
}

func entryFor(k *timeline.Conntrack, c *conn) (middlebox.Entry, bool) {
	for _, e := range k.Entries {
		if e.Orig == c.flow {
			return e, true
		}
	}
	return middlebox.Entry{}, false
}

// toldBetween reports whether the kernel's own notice tells what two readings show.
func toldBetween(list []*forgot, place string, from, to time.Duration) bool {
	for _, f := range list {
		if f.told && f.place == place && f.at >= from && f.at <= to+time.Second {
			return true
		}
	}
	return false
}

// outlived reports whether a connection was ESTABLISHED at a time and at its next
// sightings: it did not end with its entry.
func (c *conn) outlived(t time.Duration) bool {
	s, ok := c.seenAt(t)
	last := c.lastSeen()
	return ok && s.sock.State == sockstate.Established && (c.gone == 0 || c.gone > t+time.Second) && (last.at > t || last.n == s.n)
}

// madeAnew finds the entry that a later packet of the connection made. A record of
// readings that were alike is written some time after the last of them: it tells of
// the time when that was taken.
func (r *run) madeAnew(f *forgot, c *conn) {
	note := func(at time.Duration, n uint64, e middlebox.Entry) {
		if e.Orig == c.flow && at >= f.at && (f.again == nil || at < f.againAt) {
			f.again, f.againAt, f.againN = &e, at, n
		}
	}
	for _, k := range r.notices {
		if k.body.At == f.place && k.body.Event.Kind == middlebox.New {
			note(k.at, k.n, *k.body.Event.Entry)
		}
	}
	for _, k := range r.tracked {
		e, ok := entryFor(k.body, c)
		switch {
		case !ok || k.body.At != f.place || k.at < f.at:
		case f.told && (k.from < f.at || e.ID == f.entry.ID):
		default:
			note(k.at, k.n, e)
		}
	}
}

// forgotten tells that the path forgot the judged connection, which without a better
// witness is the start of the window. What a fault of our own deletes, it tells itself.
func (j *judge) forgotten() {
	if j.conn == nil || j.cut != nil && j.cut.known == byFault {
		return
	}
	for _, f := range j.forgets(j.conn) {
		if f.again != nil && f.again.ID == f.entry.ID && !f.told {
			continue // a dump that missed it: the kernel walks a table that changes
		}
		text := fmt.Sprintf("%s forgot the connection at %s%s: its conntrack entry (%s, answers from %s) is gone, while the socket is %s",
			f.place, j.clock(f.at), within(f.at-f.from), f.entry.Orig, f.entry.Reply, j.conn.lastSeen().sock.State)
		records := f.records
		if f.again != nil {
			text += fmt.Sprintf("; at %s a later packet made another entry", j.clock(f.againAt))
			if f.again.Reply != f.entry.Reply {
				text += fmt.Sprintf(" with another translation (answers from %s): the receiver does not know it", f.again.Reply)
			}
			records = append(records, f.againN)
		}
		j.find("forgotten by the path", text, records...)
		if heard, ok := j.conn.lastSeen().lastAck(); ok && heard <= f.at+j.th.Settle && j.v.Verdict == Stalled && j.v.Window == nil {
			j.v.Window = &Window{Start: j.wall(f.at), StartWithin: f.at - f.from, Known: byTrack}
		}
	}
}

// lastAck is when the kernel last received an ACK on the connection; false where the
// reading has no tcp_info.
func (s sighting) lastAck() (time.Duration, bool) {
	if s.sock.Info == nil {
		return 0, false
	}
	return s.at - s.sock.Info.LastAckRecv, true
}

// within is how much earlier it may have been.
func within(d time.Duration) string {
	if d > 0 {
		return fmt.Sprintf(" or up to %s earlier", d.Round(time.Millisecond))
	}
	return ""
}
