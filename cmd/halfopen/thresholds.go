package main

import (
	"github.com/spf13/pflag"

	"halfopen/verdict"
)

// addThresholds makes a flag of each of the judge's limits.
func addThresholds(f *pflag.FlagSet, th *verdict.Thresholds) {
	*th = verdict.Defaults()
	f.DurationVar(&th.Fresh, "fresh", th.Fresh, "an ack is recent, and so is a reading, if it is not older")
	f.DurationVar(&th.Settle, "settle", th.Settle, "acks that move so soon after the cut were under way")
	f.DurationVar(&th.Horizon, "horizon", th.Horizon, "how long a stall must be watched after the path came back")
	f.DurationVar(&th.StallAfter, "stall-after", th.StallAfter, "without a known cut: how long acks must stand still with work waiting, unless the kernel proves an outage sooner (--outage)")
	f.DurationVar(&th.Silent, "silent", th.Silent, "how long no ACK must come for a connection to be half-open, not lossy")
	f.DurationVar(&th.Outage, "outage", th.Outage, "how long an answer must be missing at least before a connection that retransmits is called half-open sooner than --silent")
	f.Float64Var(&th.Chance, "chance", th.Chance, "and how likely at most its losses of before make so many in a row, 0.000001 to 1")
	f.IntVar(&th.Retransmits, "retransmits", th.Retransmits, "retransmissions that say the same where only /proc was read")
	f.IntVar(&th.Probes, "probes", th.Probes, "unanswered keepalive probes of an idle half-open connection")
	f.IntVar(&th.Storm, "storm", th.Storm, "connections begun within --stall-after that are none")
}

func checkThresholds(th verdict.Thresholds) error {
	for _, d := range []struct {
		name string
		v    int64
	}{
		{"fresh", int64(th.Fresh)}, {"settle", int64(th.Settle)}, {"horizon", int64(th.Horizon)}, {"stall-after", int64(th.StallAfter)},
		{"silent", int64(th.Silent)}, {"outage", int64(th.Outage)}, {"retransmits", int64(th.Retransmits)}, {"probes", int64(th.Probes)}, {"storm", int64(th.Storm)},
	} {
		if d.v <= 0 {
			return usage("--%s: want more than 0", d.name)
		}
	}
	if !(th.Chance >= 1e-6 && th.Chance <= 1) {
		return usage("--chance %v: want 0.000001 to 1", th.Chance)
	}
	return nil
}
