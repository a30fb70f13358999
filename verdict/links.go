package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"halfopen/middlebox"
	"halfopen/timeline"
)

// linked tells what the interfaces on the way did while the connection stalled: that
// one was down, or dropped packets.
func (j *judge) linked() {
	from, to := j.troubled()
	type name struct {
		at    string
		index int
	}
	var order []name
	by := map[name][]reading[*timeline.Link]{}
	for _, k := range j.links {
		n := name{k.body.At, k.body.Link.Index}
		if by[n] == nil {
			order = append(order, n)
		}
		by[n] = append(by[n], k)
	}
	for _, n := range order {
		j.wentDown(by[n])
		j.lostOn(by[n], from, to)
	}
}

// troubled is the time of the window and of the stall, with the seconds in which it
// is noticed; of a run without either there is none.
func (j *judge) troubled() (from, to time.Duration) {
	if j.cut != nil {
		from, to = j.cut.start, j.cut.end
	} else if j.v.Stall != nil {
		from = j.last.Mono - j.v.Stall.For
	}
	if to == 0 || j.v.Verdict == Stalled || j.v.Verdict == Reproduced {
		to = j.last.Mono
	}
	return from - j.th.Settle, to + j.th.Settle
}

// wentDown tells when an interface that was up no longer was, and until when.
func (j *judge) wentDown(list []reading[*timeline.Link]) {
	var down *reading[*timeline.Link]
	tell := func(k *reading[*timeline.Link], again string, records ...uint64) {
		l := k.body.Link
		j.find("link", fmt.Sprintf("interface %s of %s went %s at %s, %s%s", l.Name, k.body.At, l.State, j.clock(k.at), again, toward(l)), records...)
	}
	for i := range list {
		switch k := &list[i]; {
		case down == nil && i > 0 && !k.body.Link.Up() && list[i-1].body.Link.Up():
			down = k
		case down != nil && k.body.Link.Up():
			tell(down, fmt.Sprintf("and came up again at %s", j.clock(k.at)), down.n, k.n)
			down = nil
		}
	}
	if down != nil {
		tell(down, "and stayed so to the end", down.n)
	}
}

// lostOn tells of what an interface and its queues dropped in a time.
func (j *judge) lostOn(list []reading[*timeline.Link], from, to time.Duration) {
	var first, last *reading[*timeline.Link]
	for i := range list {
		k := &list[i]
		if k.body.Link.RxDropped == nil && len(k.body.Link.Queues) == 0 {
			continue // a notice, without counters
		}
		if k.at <= from || first == nil {
			first = k
		}
		if k.at <= to {
			last = k
		}
	}
	if from <= 0 || first == nil || last == nil || last.n <= first.n || last.body.Link.Lost() <= first.body.Link.Lost() {
		return
	}
	a, b := first.body.Link, last.body.Link
	var parts []string
	for _, c := range []struct {
		what        string
		before, now *uint64
	}{
		{"with receive errors", a.RxErrors, b.RxErrors}, {"with transmit errors", a.TxErrors, b.TxErrors},
		{"dropped on receipt", a.RxDropped, b.RxDropped}, {"dropped on sending", a.TxDropped, b.TxDropped},
	} {
		if value(c.now) > value(c.before) {
			parts = append(parts, fmt.Sprintf("%s %s", count(value(c.now)-value(c.before), "packet"), c.what))
		}
	}
	for _, q := range b.Queues {
		drops := q.Drops // of one that came meanwhile
		if i := slices.IndexFunc(a.Queues, func(old middlebox.Queue) bool { return old.Handle == q.Handle && old.Kind == q.Kind }); i >= 0 {
			drops -= min(a.Queues[i].Drops, drops)
		}
		if drops > 0 {
			parts = append(parts, fmt.Sprintf("%s dropped by its queue %s %s", count(drops, "packet"), q.Kind, q.Handle))
		}
	}
	if len(parts) > 0 {
		j.find("link drops", fmt.Sprintf("interface %s of %s, between %s and %s: %s%s", b.Name, last.body.At, j.clock(first.at), j.clock(last.at), strings.Join(parts, ", "), toward(b)), first.n, last.n)
	}
}

func toward(l middlebox.Link) string {
	if len(l.Toward) == 0 {
		return ""
	}
	names := make([]string, len(l.Toward))
	for i, a := range l.Toward {
		names[i] = a.String()
	}
	return " (packets to " + strings.Join(names, ", ") + " leave by it)"
}
