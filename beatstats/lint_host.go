package beatstats

import (
	"fmt"
	"math/bits"
	"strconv"
	"time"
)

// giveUp is when the kernel gives an unacknowledged segment up, at the
// earliest: net/ipv4/tcp_timer.c, tcp_model_timeout, with TCP_RTO_MIN 200 ms
// and TCP_RTO_MAX 120 s.
func giveUp(retries int) time.Duration {
	const rtoMin, rtoMax = 200 * time.Millisecond, 120 * time.Second
	linear := bits.Len(uint(rtoMax/rtoMin)) - 1 // ilog2
	if retries <= linear {
		return (2<<max(retries, 0) - 1) * rtoMin
	}
	return (2<<linear-1)*rtoMin + time.Duration(min(retries, 255)-linear)*rtoMax
}

// leastGiveUp is what RFC 1122, section 4.2.3.5, asks of a connection before it
// is given up.
const leastGiveUp = 100 * time.Second

// goKeepalive is the idle time and the interval of the probes that Go sets on
// every connection it dials (net.Dialer.KeepAlive); their number stays the
// system's before Go 1.23.
const goKeepalive = 15 * time.Second

// hostRules judge the TCP settings of the shipper's network namespace.
func (l *linter) hostRules() {
	if n := l.env.TCPRetries2; n != nil {
		after := giveUp(*n)
		f := Finding{
			Rule: "kernel-gives-up", Level: LevelInfo, Setting: "net.ipv4.tcp_retries2", Value: strconv.Itoa(*n),
			What: fmt.Sprintf("the kernel ends a connection whose data nobody acknowledges %s or a little more after the first retransmission%s", span(after), inBrackets(l.env.Namespace)),
			Why:  "that is the last resort where Filebeat's own timeout is longer, and none where something on the path goes on acknowledging",
			Set:  "nothing", Source: "Linux net/ipv4/tcp_timer.c, tcp_model_timeout",
		}
		if after < leastGiveUp {
			f.Rule, f.Level = "kernel-gives-up-early", LevelWarning
			f.Why = "a path that is shut for so long, as in a failover, costs every connection of this namespace"
			f.Set, f.Source = "8 or more: 100 s are the least that the standard asks for", "RFC 1122, section 4.2.3.5; "+f.Source
		}
		l.found = append(l.found, f)
	}
	probes := l.env.KeepaliveProbes
	if probes == nil || l.Output != "logstash" {
		return
	}
	own := ""
	if idle, every := l.env.KeepaliveTime, l.env.KeepaliveInterval; idle != nil && every != nil {
		own = fmt.Sprintf("; a program that sets none of its own waits %s there, and then %s between probes", span(*idle), span(*every))
	}
	l.found = append(l.found, Finding{
		Rule: "idle-keepalive", Level: LevelInfo, Setting: "net.ipv4.tcp_keepalive_probes", Value: strconv.Itoa(*probes),
		What:   fmt.Sprintf("a half-open connection with nothing in flight ends after about %s%s", span(goKeepalive*time.Duration(1+min(max(*probes, 0), 255))), inBrackets(l.env.Namespace)),
		Why:    "Go probes an idle connection every 15 s whatever tcp_keepalive_time says" + own + "; a proxy may answer the probes in the peer's stead",
		Set:    "events that keep flowing, if the stall is to be seen at all",
		Source: "Go net.Dialer.KeepAlive; Linux net/ipv4/tcp_timer.c, tcp_keepalive_timer",
	})
}
