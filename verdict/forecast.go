package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// farAway is beyond any time that is worth a forecast, and within what a
// time.Duration can hold.
const farAway = 50 * 365 * 24 * time.Hour

// forecast lists what could still end the stall.
func (j *judge) forecast(last sighting) {
	for _, s := range j.settings {
		if s.body.Timeout == nil {
			continue
		}
		if j.v.Class == ReceiverBlocked {
			j.v.Ends = append(j.v.Ends, End{By: ByTimeout, Text: fmt.Sprintf("the shipper's own timeout (%s): never while the receiver keeps sending", *s.body.Timeout)})
			continue
		}
		if read, ok := last.lastRead(); ok && *s.body.Timeout < farAway {
			at := j.wall(read + *s.body.Timeout)
			j.v.Ends = append(j.v.Ends, End{By: ByTimeout, Earliest: &at, Latest: &at,
				Text: fmt.Sprintf("the shipper's own timeout (%s) at %s", *s.body.Timeout, j.clock(read+*s.body.Timeout))})
		}
	}
	if j.v.Class == SilentPeer || j.v.Class == ReceiverBlocked {
		j.v.Ends = append(j.v.Ends, End{By: ByKernel, Text: "the kernel: never, since the peer's kernel answers"})
		return
	}
	if sys := j.sysctls(); sys != nil {
		if f, ok := sockstate.GiveUp(last.sock, *sys); ok {
			early, late := j.wall(last.at+f.Earliest), j.wall(last.at+f.Latest)
			j.v.Ends = append(j.v.Ends, End{By: ByKernel, Earliest: &early, Latest: &late,
				Text: fmt.Sprintf("the kernel's give-up between %s and %s: %s", j.clock(last.at+f.Earliest), j.clock(last.at+f.Latest), f.Why)})
		}
	}
}
