package verdict

import (
	"fmt"
	"time"

	"halfopen/beatstats"
)

// ackFrame is the size of a Lumberjack v2 ACK in bytes: version, "A" and a
// sequence of 32 bits. With sequence 0 it only says that the receiver is alive:
// Logstash sends one every 5 s to a client whose batch it can't take yet
// (elastic/go-lumber server/v2, logstash-input-beats BeatsHandler).
const ackFrame = 6

// reads is what a shipper read while it acknowledged nothing, by its own counter
// of bytes.
type reads struct {
	known bool
	bytes int64
	times int           // readings that showed more
	acks  bool          // all of them a multiple of an ACK
	size  int64         // of the smallest growth
	first time.Duration // of them
	last  time.Duration
}

func (r reads) any() bool { return r.times > 0 }

// String is for one that read something.
func (r reads) String() string {
	if r.acks {
		return fmt.Sprintf("the receiver keeps the shipper waiting: %s read in %s, %d or a multiple at a time, each an ACK 0 that acknowledges nothing",
			count(r.bytes, "byte"), round(r.last-r.first), ackFrame)
	}
	return fmt.Sprintf("the receiver still sends data: %s read, %d or more at a time", count(r.bytes, "byte"), r.size)
}

// reads sums up what the shipper read since from.
func (r *run) reads(from time.Duration) (sum reads, records []uint64) {
	var prev *beatstats.Sample
	for i := range r.acks {
		cur := &r.acks[i]
		v := cur.body.Sample.ReadBytes
		if cur.at < from || !v.OK() {
			continue
		}
		if prev == nil {
			sum.first, sum.last = cur.at, cur.at
			records = append(records, cur.n)
		} else {
			sum.known = true
			if _, restarted := beatstats.Epoch(*prev, cur.body.Sample); !restarted && beatstats.SameBase(*prev, cur.body.Sample) && v.N > prev.ReadBytes.N {
				sum.grow(v.N-prev.ReadBytes.N, cur.at)
				records = append(records[:1], cur.n)
			}
		}
		prev = &cur.body.Sample
	}
	return sum, records
}

func (r *reads) grow(by int64, at time.Duration) {
	if r.times == 0 {
		r.acks, r.size = true, by
	}
	r.acks = r.acks && by%ackFrame == 0
	r.size = min(r.size, by)
	r.bytes += by
	r.times++
	r.last = at
}
