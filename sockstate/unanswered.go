package sockstate

import "time"

// Unanswered is for how long, at least, what a socket sends has had no answer: its
// retransmissions, SYNs among them, or its probes of a closed window. It follows
// from the timer and its backoff alone (net/ipv4/tcp_timer.c), which begin anew
// with any progress; the age of the last ACK does not, since nothing may have been
// sent before. False where neither timer runs, or it has not fired yet.
func Unanswered(s Socket, sys Sysctls) (time.Duration, bool) {
	s.TimerIn = max(s.TimerIn, 0) // a recording may hold what no kernel says
	s.Retransmits = min(s.Retransmits, 255)
	limit := rtoLimit(sys)
	switch {
	case s.Timer == TimerProbe:
		return probed(s, sys, limit), true
	case s.Timer != TimerRetransmit || s.Retransmits == 0:
		return 0, false
	case s.State == SynSent:
		return attempted(s), true
	}
	least, _ := sinceFirst(s, sys, limit)
	return least, true
}

// probed is how long the window has been probed: the interval is the RTO, doubled
// with each probe, answered or not (tcp_send_probe0, tcp_probe0_when).
func probed(s Socket, sys Sysctls, limit time.Duration) (least time.Duration) {
	base := min(max(rto(s), rtoMin), limit)
	most := min(retries(sys.Retries2, 15), maxShift)
	n := min(doublings(s), most)
	for i := range n {
		least += min(base<<i, limit)
	}
	return least + max(min(base<<n, limit)-s.TimerIn, 0)
}

// attempted is how long a SYN has been sent again. The first intervals are linear
// (tcp_syn_linear_timeouts), so the doublings follow from the RTO.
func attempted(s Socket) time.Duration {
	doubled := 0
	for rtoInit<<(doubled+1) <= rto(s) && doubled < maxShift {
		doubled++
	}
	doubled = min(doubled, int(s.Retransmits))
	linear := time.Duration(int(s.Retransmits)-doubled) * rtoInit
	return linear + (1<<doubled-1)*rtoInit + max(rto(s)-s.TimerIn, 0)
}
