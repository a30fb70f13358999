package sockstate

import (
	"fmt"
	"time"
)

// Forecast is when the kernel ends a connection by itself, if the silence goes
// on: nothing is acknowledged, no probe is answered. Times count from the
// reading. They are not exact since the kernel acts only when a timer fires, and
// its timers fire late by up to an eighth.
type Forecast struct {
	Next     time.Duration `json:"next_ns"`     // until the next retransmission or probe
	Earliest time.Duration `json:"earliest_ns"` // until the kernel gives up, at least
	Latest   time.Duration `json:"latest_ns"`   // and at most
	Why      string        `json:"why"`         // one sentence: the rule, the numbers in it, and what was assumed
}

// Tuning is what an application has set on a socket and the kernel does not
// export. Zero values are not known.
type Tuning struct {
	UserTimeout       time.Duration // TCP_USER_TIMEOUT
	KeepaliveTime     time.Duration // TCP_KEEPIDLE
	KeepaliveInterval time.Duration // TCP_KEEPINTVL
	KeepaliveProbes   int           // TCP_KEEPCNT
}

// GoKeepalive is what Go's net package sets on its connections unless told
// otherwise (net.KeepAliveConfig, Go 1.23).
var GoKeepalive = Tuning{KeepaliveTime: 15 * time.Second, KeepaliveInterval: 15 * time.Second, KeepaliveProbes: 9}

// GiveUp is Tuning.GiveUp with nothing known of the socket's own options.
func GiveUp(s Socket, sys Sysctls) (Forecast, bool) { return Tuning{}.GiveUp(s, sys) }

// GiveUp forecasts the end of a connection as net/ipv4/tcp_timer.c brings it
// about. A setting that sys lacks is taken to be the kernel's default. There is
// no forecast, and ok is false, where the kernel waits for ever (no timer runs)
// or the socket is no connection (LISTEN, SYN_RECV).
func (t Tuning) GiveUp(s Socket, sys Sysctls) (f Forecast, ok bool) {
	if s.State == Listen || s.State == SynRecv || s.State == Close {
		return Forecast{}, false
	}
	// A recording may hold what no kernel says.
	s.TimerIn = max(s.TimerIn, 0)
	s.Retransmits = min(s.Retransmits, 255)
	switch s.Timer {
	case TimerRetransmit:
		if s.State == SynSent {
			f = t.connecting(s, sys)
		} else {
			f = t.retransmitting(s, sys)
		}
	case TimerProbe:
		f = t.probing(s, sys)
	case TimerKeepalive:
		if s.State == FinWait2 && s.Inode == 0 {
			return Forecast{}, false // the timer is not keepalive then: see TimerKeepalive
		}
		f = t.keepalive(s, sys)
	case TimerTimeWait:
		f.Earliest, f.Latest = s.TimerIn, s.TimerIn+lateness(timeWaitLen, sys.Tick)
		f.Why = fmt.Sprintf("what is left in %s is removed when its timer fires", s.State)
	default:
		return Forecast{}, false
	}
	f.Next = s.TimerIn
	return f, true
}

// connecting: SYN_SENT ends after a number of retransmissions (tcp_write_timeout).
func (t Tuning) connecting(s Socket, sys Sysctls) (f Forecast) {
	linear := retries(sys.SynLinearTimeouts, 0)
	most := retries(sys.SynRetries, 6) + linear
	sent := int(s.Retransmits)
	b := backoff{in: s.TimerIn, interval: rto(s), limit: rtoLimit(sys), tick: sys.Tick, linear: linear - sent}
	f.Earliest, f.Latest = b.nth(most - sent)
	f.Why = fmt.Sprintf("the connection attempt ends when the SYN was sent again %d times (tcp_syn_retries and linear timeouts), %d so far, "+
		"unless the application has set TCP_SYNCNT or TCP_USER_TIMEOUT", most, sent)
	if t.UserTimeout > 0 {
		latest := b.first().late + t.UserTimeout + lateness(t.UserTimeout, sys.Tick)
		f.Earliest, f.Latest = min(f.Earliest, s.TimerIn), min(f.Latest, latest)
		f.Why += fmt.Sprintf("; here %s", t.UserTimeout)
	}
	return f
}

// probing: with data to send but none in flight, probes are counted
// (tcp_probe_timer). Any answer sets the count back to 0.
func (t Tuning) probing(s Socket, sys Sysctls) (f Forecast) {
	probes, rule := retries(sys.Retries2, 15), "tcp_retries2"
	if s.Orphan() {
		probes, rule = retries(sys.OrphanRetries, 0), "tcp_orphan_retries, for no process holds the socket"
		if probes == 0 {
			probes = orphanRetries
		}
	}
	left := probes - int(s.Retransmits)
	b := backoff{in: s.TimerIn, interval: min(max(rto(s), rtoMin), rtoLimit(sys)), tick: sys.Tick}
	// Probes are not backed off further than tcp_retries2 doublings (tcp_send_probe0).
	b.limit = min(b.interval<<min(retries(sys.Retries2, 15), maxShift), rtoLimit(sys))
	for range doublings(s) {
		b.interval = min(2*b.interval, b.limit)
	}
	f.Earliest, f.Latest = b.nth(left)
	if s.Info == nil {
		// /proc lacks the backoff, which answered probes leave as it is.
		b.interval = b.limit
		_, f.Latest = b.nth(left)
	}
	f.Why = fmt.Sprintf("the kernel gives up when %d probes in a row went unanswered (%s), %d so far; a peer that answers, "+
		"its window still closed, keeps the connection for ever", probes, rule, s.Retransmits)
	if t.UserTimeout > 0 {
		f.Earliest, f.Latest = min(f.Earliest, s.TimerIn), min(f.Latest, s.TimerIn+t.UserTimeout+lateness(t.UserTimeout, sys.Tick))
		f.Why += fmt.Sprintf("; or when TCP_USER_TIMEOUT (%s) has passed", t.UserTimeout)
	}
	return f
}

// keepalive: probes begin when nothing was received for a time, and the kernel
// gives up one interval after the last (tcp_keepalive_timer).
func (t Tuning) keepalive(s Socket, sys Sysctls) (f Forecast) {
	f.Why = fmt.Sprintf("nothing is in flight; the kernel gives up when keepalive probes go unanswered, %d so far", s.Retransmits)
	for i, k := range t.keepalives(s, sys) {
		earliest, latest := k.silence(s, sys.Tick)
		f.Latest = max(f.Latest, latest)
		if i == 0 || earliest < f.Earliest {
			f.Earliest = earliest
		}
		f.Why += fmt.Sprintf("; %d probes %s apart after %s of silence", k.KeepaliveProbes, k.KeepaliveInterval, k.KeepaliveTime)
	}
	if t.KeepaliveTime == 0 {
		f.Why += "; the socket's own settings are not exported: taken are Go's where the timer allows that, and the namespace's"
	}
	return f
}

// silence is when a socket with these settings is given up.
func (t Tuning) silence(s Socket, tick time.Duration) (earliest, latest time.Duration) {
	probe := s.TimerIn // when the next one is sent
	slack := lateness(t.KeepaliveInterval, tick)
	if s.Retransmits == 0 {
		slack = lateness(t.KeepaliveTime, tick)
		// The timer isn't set anew by what is received: when it fires it may only
		// look, and be set for the rest.
		if i := s.Info; i != nil {
			probe = max(probe, t.KeepaliveTime-min(i.LastDataRecv, i.LastAckRecv))
		} else {
			slack += t.KeepaliveTime
		}
	}
	left := min(max(t.KeepaliveProbes-int(s.Retransmits), 0), 255)
	if t.UserTimeout > 0 {
		// Takes the place of the count, once a probe went unanswered.
		return probe, probe + slack + t.UserTimeout + t.KeepaliveInterval + lateness(t.KeepaliveInterval, tick)
	}
	earliest = probe + time.Duration(left)*t.KeepaliveInterval
	return earliest, earliest + slack + time.Duration(left)*lateness(t.KeepaliveInterval, tick)
}

// keepalives are the settings that the socket may have.
func (t Tuning) keepalives(s Socket, sys Sysctls) []Tuning {
	own := Tuning{
		UserTimeout:       t.UserTimeout,
		KeepaliveTime:     or(sys.KeepaliveTime, 2*time.Hour),
		KeepaliveInterval: or(sys.KeepaliveInterval, 75*time.Second),
		KeepaliveProbes:   retries(sys.KeepaliveProbes, 9),
	}
	if t.KeepaliveTime > 0 && t.KeepaliveInterval > 0 && t.KeepaliveProbes > 0 {
		return []Tuning{t}
	}
	if s.TimerIn > GoKeepalive.KeepaliveTime {
		return []Tuning{own} // Go's timer is never set for as long
	}
	theirs := GoKeepalive
	theirs.UserTimeout = t.UserTimeout
	return []Tuning{theirs, own}
}

// rtoLimit is TCP_RTO_MAX or what tcp_rto_max_ms makes of it: 1 to 120 s.
func rtoLimit(sys Sysctls) time.Duration {
	return min(max(or(sys.RTOMax, rtoMax), time.Second), rtoMax)
}

// retries keeps a count within what a kernel has.
func retries(p *int, otherwise int) int { return min(max(or(p, otherwise), 0), 255) }

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
