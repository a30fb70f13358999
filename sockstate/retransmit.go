package sockstate

import (
	"fmt"
	"time"
)

// retransmitting: with data in flight the kernel gives up when the timer fires
// and the time since the first retransmission has reached a limit
// (retransmits_timed_out). That moment is not exported; it follows from the
// number of retransmissions and the RTO.
func (t Tuning) retransmitting(s Socket, sys Sysctls) (f Forecast) {
	b := backoff{in: s.TimerIn, interval: rto(s), limit: rtoLimit(sys), tick: sys.Tick}
	if i := s.Info; i != nil && i.SndWnd == Some(uint32(0)) && !s.Orphan() {
		return shrunk(b, *i)
	}
	timeout, rule := t.timeout(s, sys, b.limit)
	least, most := time.Duration(0), time.Duration(0)
	if s.Retransmits > 0 {
		least, most = sinceFirst(s, sys, b.limit)
	}
	switch {
	case t.UserTimeout > 0:
		f.Earliest, f.Latest = b.clamped(timeout-most, timeout-least, s.Retransmits == 0)
	case s.Retransmits == 0:
		f.Earliest, f.Latest = b.fromFirst(timeout)
	default:
		f.Earliest, f.Latest = b.after(timeout-most, timeout-least)
	}
	f.Why = fmt.Sprintf("%d retransmissions, RTO %s; the kernel gives up at the first timer that fires %s or more after the first retransmission (%s)",
		s.Retransmits, rto(s), timeout, rule)
	if t.UserTimeout == 0 {
		f.Why += "; sooner if the application has set a shorter TCP_USER_TIMEOUT"
	}
	return f
}

// shrunk: the peer has taken back its window with data in flight. The kernel then
// goes by the time since the last ACK: tcp_rto_max_ms, twice as long since 6.10
// (tcp_rtx_probe0_timed_out).
func shrunk(b backoff, i Info) (f Forecast) {
	f.Earliest, f.Latest = b.after(b.limit-i.LastAckRecv, 2*b.limit-i.LastAckRecv)
	f.Why = fmt.Sprintf("the peer has closed its window over data in flight; the kernel gives up %s to %s after the last ACK, received %s ago",
		b.limit, 2*b.limit, i.LastAckRecv)
	return f
}

// timeout is the limit on the time since the first retransmission.
func (t Tuning) timeout(s Socket, sys Sysctls, limit time.Duration) (d time.Duration, rule string) {
	if t.UserTimeout > 0 {
		return t.UserTimeout, "TCP_USER_TIMEOUT"
	}
	if !s.Orphan() {
		n := retries(sys.Retries2, 15)
		return modelTimeout(n, rtoMin, limit), fmt.Sprintf("tcp_retries2 = %d", n)
	}
	n := retries(sys.OrphanRetries, 0)
	if n == 0 && rto(s) < limit {
		n = orphanRetries
	}
	return modelTimeout(n, rtoMin, limit), fmt.Sprintf("no process holds the socket: %d orphan retries", n)
}

// fromFirst: no retransmission yet. The timer may be the one of a tail loss
// probe, which does not count and is followed by a whole RTO.
func (b backoff) fromFirst(timeout time.Duration) (earliest, latest time.Duration) {
	rest := b
	rest.interval = min(2*b.interval, b.limit)
	rest.in = rest.interval
	earliest, latest = rest.after(timeout, timeout)
	return b.in + earliest, b.first().late + b.probed() + latest
}

// clamped: TCP_USER_TIMEOUT. The timer is set so as to fire when the time is over
// (tcp_clamp_rto_to_user_timeout), of which least to most is left.
func (b backoff) clamped(least, most time.Duration, first bool) (earliest, latest time.Duration) {
	late := b.first().late
	if first {
		return b.in + least, late + b.probed() + most + lateness(most, b.tick)
	}
	return max(b.in, least), max(late, most+lateness(most, b.tick))
}

func (b backoff) probed() time.Duration { return b.interval + lateness(b.interval, b.tick) }

// maxShift is more doublings than any RTO has before it reaches its limit.
const maxShift = 20

// sinceFirst is how long ago the first retransmission was: the sum of the
// intervals since, of which each may have been late.
func sinceFirst(s Socket, sys Sysctls, limit time.Duration) (least, most time.Duration) {
	low, high := unbacked(s, sys, limit)
	running := max(rto(s)-s.TimerIn, 0)
	least, most = running, running+lateness(rto(s), sys.Tick)
	doubled := doublings(s)
	for i := 1; i < int(s.Retransmits); i++ {
		// Without a doubling for each, the first ones were linear (thin streams).
		n := min(max(doubled-(int(s.Retransmits)-i), 0), maxShift)
		least += min(low<<n, limit)
		most += min(high<<n, limit) + lateness(min(high<<n, limit), sys.Tick)
	}
	return least, most
}

// unbacked is the RTO before it was doubled. Where the limit has cut it off it
// follows from the RTT as in tcp_set_rto, within a factor of two.
func unbacked(s Socket, sys Sysctls, limit time.Duration) (low, high time.Duration) {
	doubled := min(doublings(s), maxShift)
	low = rto(s) >> doubled
	if rto(s) < limit {
		resolution := time.Duration(0)
		if s.Info == nil {
			resolution = userTick
		}
		return low, (rto(s) + resolution) >> doubled
	}
	floor := or(sys.RTOMin, rtoMin)
	low, high = max(low, floor), max(low, rtoInit)
	if i := s.Info; i != nil && i.RTT > 0 {
		low = max(low, i.RTT+floor)
		high = max(low, 2*(i.RTT+max(floor, 4*i.RTTVar)))
	}
	return min(low, limit), min(high, limit)
}

// rto is the RTO, backed off.
func rto(s Socket) time.Duration {
	switch {
	case s.Info != nil && s.Info.RTO > 0:
		return s.Info.RTO
	case s.Proc != nil && s.Proc.RTO > 0:
		return s.Proc.RTO
	}
	return max(s.TimerIn, rtoMin)
}

// doublings is how often the RTO, or the interval of probes, was doubled.
func doublings(s Socket) int {
	if s.Info != nil {
		return int(s.Info.Backoff)
	}
	return int(s.Retransmits)
}
