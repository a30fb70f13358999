package collect

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"halfopen/clock"
	"halfopen/sockstate"
)

// discoverEvery is how often new connections are looked for. Those that are
// known are read by exact look-up, which costs the same however many sockets the
// namespace has; a dump does not.
const discoverEvery = time.Second

// Dumps of a large table are to take no more than 1/300 of the time, but a new
// connection must not go unseen for long. Where sockets end all the time, each end
// asking for a dump, they may take 1/10.
const (
	discoverShare  = 300
	discoverWithin = 5 * time.Second
	goneShare      = 10
)

// follower reads the sockets of the watched ports: a dump now and then, and look-ups
// between. A socket that is gone brings the next dump forward, so that what came
// in its place is seen at once. Listeners are as the last dump had them: nothing of
// theirs needs a hundred readings a second, and of those that share an address
// (SO_REUSEPORT) a look-up finds only one.
type follower struct {
	diag     *sockstate.Diag
	own      func([]sockstate.Socket) []sockstate.Socket // leaves out what is not to be recorded
	again    func(why string)                            // told of a dump that had to be read again
	stats    sockstate.Stats
	known    []sockstate.Socket // the last reading
	before   []sockstate.Socket // the one before it, for its memory
	took     time.Duration      // by the last dump
	nextDump time.Duration      // monotonic
	earliest time.Duration      // of the next dump, whatever ends meanwhile
}

// read returns a reading that stays as it is until the next but one.
func (f *follower) read() ([]sockstate.Socket, error) {
	began := clock.Mono()
	if began < f.nextDump {
		gone, err := f.lookup()
		if err != nil {
			return nil, err
		}
		if gone {
			f.nextDump = min(f.nextDump, f.earliest)
		}
		if began < f.nextDump {
			return f.known, nil
		}
	}
	socks, err := f.diag.Dump()
	if err != nil {
		return nil, err
	}
	if s := f.diag.Stats(); s != f.stats {
		f.again(fmt.Sprintf("a dump was read again: %d times so far the table changed meanwhile, %d times the netlink buffer overran", s.Interrupted, s.Overruns))
		f.stats = s
	}
	now := clock.Mono()
	took := now - began
	cost := min(took, f.took) // one alone may have waited for a processor
	f.took = took
	f.nextDump = now + min(max(discoverEvery, discoverShare*cost), discoverWithin)
	f.earliest = now + goneShare*cost
	f.known = f.own(socks)
	return f.known, nil
}

// lookup reads the known sockets anew, into the memory of the reading before the
// last: the last one may still be compared with. Gone reports that some are no
// longer there; of these a minisocket may be left, or the 4-tuple is used again.
func (f *follower) lookup() (gone bool, err error) {
	next := slices.Grow(f.before[:0], len(f.known))[:len(f.known)]
	n := 0
	for _, last := range f.known {
		s := &next[n]
		if last.State == sockstate.Listen {
			*s = last
			n++
			continue
		}
		s.Flow, s.Interface, s.Cookie = last.Flow, last.Interface, last.Cookie
		err := f.diag.Lookup(s)
		if errors.Is(err, sockstate.ErrGone) {
			gone, s.Cookie = true, 0
			err = f.diag.Lookup(s)
		}
		switch {
		case err == nil:
			n++
		case !errors.Is(err, sockstate.ErrGone):
			return false, err
		}
	}
	f.known, f.before = next[:n], f.known
	return gone, nil
}
