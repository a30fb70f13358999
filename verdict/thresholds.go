package verdict

import "time"

// Thresholds are the judge's limits.
type Thresholds struct {
	// Fresh: an ack is recent if it is not older. Filebeat flushes once a second
	// by default and its counters are read once a second.
	Fresh time.Duration `json:"fresh_ns"`
	// Settle: acks that move so soon after the path was cut were under way; the
	// counters are read once a second.
	Settle time.Duration `json:"settle_ns"`
	// Horizon: how long a stall must be watched after the path came back.
	Horizon time.Duration `json:"horizon_ns"`
	// StallAfter: without a known cut, how long acks must stand still with work
	// pending. Filebeat's own default timeout is 30 s.
	StallAfter time.Duration `json:"stall_after_ns"`
	// Silent: how long no ACK must have come for a connection that retransmits to be
	// half-open, rather than on a path that loses packets. At 50% loss one of the
	// first six retransmissions and its answer gets through in 82 of 100 cases.
	Silent time.Duration `json:"silent_ns"`
	// Outage and Chance: a connection that retransmits is known to be silent before
	// Silent is over, once no answer has come for Outage and loss, as the connection
	// has had it until now, would do that to all it has sent no more often than
	// Chance. After 200 segments without a loss the third retransmission shows it,
	// 1.4 s after the data; after ten the seventh. See [Thresholds.outage].
	Outage time.Duration `json:"outage_ns"`
	Chance float64       `json:"chance"`
	// Retransmits: how many retransmissions say the same where the time of the last
	// ACK is not known (/proc). From 200 ms on, six take 12 s.
	Retransmits int `json:"retransmits"`
	// Probes: how many keepalive probes must be unanswered; one may be under way.
	Probes int `json:"probes"`
	// Storm: how many connections the shipper must have begun within StallAfter not
	// to be connected in any useful sense. Filebeat waits 1 s, then 2 s, 4 s … between
	// attempts.
	Storm int `json:"storm"`
}

// Defaults are the thresholds that the program uses.
func Defaults() Thresholds {
	return Thresholds{
		Fresh: 5 * time.Second, Settle: 2 * time.Second, Horizon: 30 * time.Second, StallAfter: 30 * time.Second,
		Silent: 10 * time.Second, Outage: 1300 * time.Millisecond, Chance: 0.001, Retransmits: 6, Probes: 2, Storm: 3,
	}
}
