package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// mostSilences is how many pauses are told one by one.
const mostSilences = 5

// uncounted tells what the kernel alone shows where no counters were read: pauses that
// are over, and a receiver that does not read.
func (j *judge) uncounted() {
	if len(j.acks) > 0 || j.v.Verdict != Inconclusive || j.series.any() {
		return
	}
	if len(j.conns) == 0 {
		j.find("sockets", fmt.Sprintf("no connection to ports %v was seen", []uint16(j.header.Ports)), j.last.N)
	}
	more := 0
	for _, c := range j.conns {
		for _, p := range j.pauses(c) {
			if more++; more <= mostSilences {
				j.find("silence", fmt.Sprintf("nothing that %s sent was answered from %s to %s, %s, though sent again %s; then ACKs came again on the same connection",
					c.flow, j.clock(p.from), j.clock(p.to), round(p.to-p.from), count(p.again, "time")), p.n, p.overN)
			}
		}
	}
	if more > mostSilences {
		j.find("silence", fmt.Sprintf("%s of that kind", count(more-mostSilences, "more pause")), j.last.N)
	}
	if j.conn == nil {
		return
	}
	if far, _, ok := j.mapped(j.conn); ok {
		if other := j.across(far); other != nil && other.gone == 0 {
			j.leftUnread(other)
		}
	}
}

// deadUncounted judges a connection without counters that did not come back after the
// cut: it was tried at least once more when the path was there again.
func (j *judge) deadUncounted() bool {
	if len(j.acks) > 0 || j.cut.end == 0 || j.last.Mono-j.cut.end < j.th.Horizon {
		return false
	}
	c, _ := j.deadOne()
	if c == nil {
		return false
	}
	if then, ok := c.seenAt(j.cut.end + j.th.Settle); !ok || c.lastSeen().sock.Retransmits <= then.sock.Retransmits {
		return false
	}
	why, records, _ := j.unreadable()
	j.judgeSockets(why, records)
	return true
}

// pause is a time in which a connection that lives on got no answer.
type pause struct {
	from, to time.Duration
	n, overN uint64
	again    uint32
}

func (j *judge) pauses(c *conn) (list []pause) {
	var open *pause
	for _, s := range c.seen {
		k := s.sock
		_, early := j.th.outage(k)
		switch {
		case k.Info == nil:
		case k.Retransmits > 0 && (early || j.silent(k) >= j.th.Silent):
			if open == nil {
				open = &pause{from: s.at - j.silent(k), n: s.n}
			}
			open.again = max(open.again, k.Retransmits)
		case open != nil && k.Retransmits == 0 && k.State == sockstate.Established:
			open.to, open.overN = s.since, s.n
			list, open = append(list, *open), nil
		}
	}
	return list
}
