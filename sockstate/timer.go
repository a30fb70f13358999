package sockstate

import "time"

// Constants of include/net/tcp.h and net/ipv4/tcp_timer.c.
const (
	rtoMin        = 200 * time.Millisecond // TCP_RTO_MIN, which the model of the give-up uses whatever tcp_rto_min_us says
	rtoMax        = 120 * time.Second      // TCP_RTO_MAX
	rtoInit       = time.Second            // TCP_TIMEOUT_INIT
	timeWaitLen   = 60 * time.Second       // TCP_TIMEWAIT_LEN
	orphanRetries = 8                      // tcp_orphan_retries(), for a setting of 0
)

// modelTimeout is tcp_model_timeout: how long a connection takes that is given up
// after boundary retransmissions whose RTO doubles from base up to limit. The
// kernel compares the time since the first retransmission with it.
func modelTimeout(boundary int, base, limit time.Duration) time.Duration {
	doublings := 0
	for base<<(doublings+1) <= limit {
		doublings++
	}
	if boundary <= doublings {
		return (2<<boundary - 1) * base
	}
	return (2<<doublings-1)*base + time.Duration(boundary-doublings)*limit
}

// lateness is how much later than asked a timer may fire. The timer wheel has
// levels of 64 buckets; a bucket is a tick in the first and eight times as wide
// in each further one, and a timer fires at the end of its bucket
// (kernel/time/timer.c, LVL_START and LVL_GRAN).
func lateness(d, tick time.Duration) time.Duration {
	if tick <= 0 || tick > time.Second {
		return d*8/63 + 20*time.Millisecond // the worst that any tick rate gives
	}
	width := tick
	for d/width >= 63 && width < tick<<21 {
		width *= 8
	}
	return width + tick
}

// backoff is the run of a timer that doubles with each firing.
type backoff struct {
	in       time.Duration // until it fires next
	interval time.Duration // that it was set for
	limit    time.Duration // of the interval
	tick     time.Duration
	linear   int // firings to come that do not double the interval
}

// firing is one firing: after the reading by at least at, at most late; interval
// is what the timer had been set for.
type firing struct {
	at, late, interval time.Duration
}

func (b backoff) first() firing {
	return firing{at: b.in, late: b.in + lateness(b.interval, b.tick), interval: min(b.interval, b.limit)}
}

// next is the firing that follows f, the nth counted from 0.
func (b backoff) next(f firing, n int) firing {
	if n >= b.linear {
		f.interval = min(2*f.interval, b.limit)
	}
	f.at += f.interval
	f.late += f.interval + lateness(f.interval, b.tick)
	return f
}

// nth returns when the timer fires after n further firings.
func (b backoff) nth(n int) (earliest, latest time.Duration) {
	f := b.first()
	for i := range max(n, 0) {
		f = b.next(f, i)
	}
	return f.at, f.late
}

// after returns when the kernel, which looks only when the timer fires, notices
// that a time is over of which at least least and at most most is left.
func (b backoff) after(least, most time.Duration) (earliest, latest time.Duration) {
	earliest = -1
	f := b.first()
	for n := 0; ; n++ {
		if earliest < 0 && f.late >= least {
			earliest = max(f.at, least)
		}
		if f.at >= most {
			return earliest, f.late
		}
		f = b.next(f, n)
	}
}
