package verdict

import (
	"fmt"
	"math"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
)

// silence is for how long what a connection sends has had no answer: its last ACK may
// be older, where nothing was sent for a while. Without tcp_info the timers alone tell.
func silence(k sockstate.Socket, sys sockstate.Sysctls) time.Duration {
	sent, ok := sockstate.Unanswered(k, sys)
	switch {
	case k.Info == nil:
		return sent
	case ok:
		return min(k.Info.LastAckRecv, sent)
	}
	return k.Info.LastAckRecv
}

// silent is silence under the shipper's sysctls.
func (r *run) silent(k sockstate.Socket) time.Duration { return silence(k, r.tuned()) }

// tuned are the shipper's sysctls; where they were not read, the kernel's defaults.
func (r *run) tuned() sockstate.Sysctls {
	if sys := r.sysctls(); sys != nil {
		return *sys
	}
	return sockstate.Sysctls{}
}

// outage reports whether a connection is known to get no answer any more, long
// before Silent: data in flight was sent again so often without an ACK that loss,
// as the connection has had it until now, does not explain it. Of n segments r
// were sent again, so that (r+3)/(n+3) bounds the chance that one is lost, or its
// ACK, from above (the rule of three), and n segments may expect l losses in a row
// n times that chance to the power of l. Each timeout is a loss, and so is the last
// retransmission once an answer to it is overdue, by the RTO without its backoff.
// Without tcp_info of Linux 4.6 nothing is known so early.
func (t Thresholds) outage(k sockstate.Socket) (why string, ok bool) {
	if k.State != sockstate.Established || k.Timer != sockstate.TimerRetransmit || k.SendQ == 0 || k.Info == nil || silence(k, sockstate.Sysctls{}) < t.Outage {
		return "", false
	}
	segments, told := k.Info.DataSegsOut.Get()
	unanswered := k.Retransmits
	if !told || unanswered == 0 || segments <= unanswered || k.Info.TotalRetrans < unanswered {
		return "", false
	}
	n, r, losses := float64(segments-unanswered), float64(k.Info.TotalRetrans-unanswered), unanswered
	if k.Info.LastDataSent >= k.Info.RTO>>k.Info.Backoff {
		losses++
	}
	if n*math.Pow(min(1, (r+3)/(n+3)), float64(losses)) > t.Chance {
		return "", false
	}
	return fmt.Sprintf("of %s before, %.0f had to be sent again: so many in a row are not chance", count(segments-unanswered, "segment"), r), true
}

// young is the doubt about an outage that is known so early.
func young(age time.Duration) string {
	return fmt.Sprintf("no answer for %s is not long: a path that is down for a moment looks the same", round(age))
}

// known tells how soon after its last ACK a connection could be known to be
// half-open.
func (j *judge) known(c *conn) {
	since, found := c.since(func(k sockstate.Socket) bool { return k.Timer == sockstate.TimerRetransmit && k.Retransmits > 0 })
	if !found {
		return
	}
	for _, s := range c.seen {
		if s.at < since || s.sock.Info == nil {
			continue
		}
		age := j.silent(s.sock)
		if _, early := j.th.outage(s.sock); early || age >= j.th.Silent {
			j.find("known", fmt.Sprintf("it was known at %s that nothing answers any more, %s after the last answer", j.clock(s.at), round(age)), s.n)
			return
		}
	}
}

// Outage is a connection on which nothing answers any more, or answers again.
type Outage struct {
	Flow flow.Flow
	Over bool
	For  time.Duration // without an answer to what was sent; of one that is over, as long as it was seen
	Text string        // what the kernel shows, in words
}

// Outages tells of connections as soon as nothing answers on them any more, while
// a run goes on. Set Thresholds.
type Outages struct {
	Thresholds
	open map[uint64]Outage // by cookie
}

// Add takes the shipper's sockets of a reading and returns what is new: a
// connection that fell silent, one that goes on.
func (o *Outages) Add(socks []sockstate.Socket) (news []Outage) {
	if o.open == nil {
		o.open = map[uint64]Outage{}
	}
	there := map[uint64]bool{}
	for _, k := range socks {
		was, open := o.open[k.Cookie]
		_, silent := o.outage(k)
		switch {
		case silent:
			age := silence(k, sockstate.Sysctls{})
			now := Outage{Flow: k.Flow, For: age, Text: fmt.Sprintf("%s in flight, sent again %s, and no ACK for %s", count(k.SendQ, "byte"), count(k.Retransmits, "time"), round(age))}
			if !open {
				news = append(news, now)
			}
			o.open[k.Cookie] = now
		case open && k.Retransmits == 0 && k.State == sockstate.Established:
			was.Over, was.Text = true, fmt.Sprintf("ACKs come again, after %s or a little more", round(was.For))
			news = append(news, was)
			delete(o.open, k.Cookie)
		}
		there[k.Cookie] = true
	}
	for cookie := range o.open {
		if !there[cookie] {
			delete(o.open, cookie)
		}
	}
	return news
}
