package collect

import (
	"errors"
	"fmt"
	"time"

	"halfopen/clock"
	"halfopen/sockstate"
)

// discoverEvery is how often new connections are looked for. Those that are
// known are read by exact look-up, which costs the same however many sockets the
// namespace has; a dump does not.
const discoverEvery = time.Second

// Dumps of a large table are to take no more than 1/100 of the time, but a new
// connection must not go unseen for long: on a busy host a dump of a small table
// takes its time too.
const (
	discoverShare  = 100
	discoverWithin = 2 * time.Second
)

// follower reads the sockets of the watched ports: a dump now and then, and look-ups
// between. A socket that is gone brings the next dump forward, so that what came
// in its place is seen at once.
type follower struct {
	diag     *sockstate.Diag
	own      func([]sockstate.Socket) []sockstate.Socket // leaves out what is not to be recorded
	again    func(why string)                            // told of a dump that had to be read again
	stats    sockstate.Stats
	known    []sockstate.Socket
	nextDump time.Duration // monotonic
}

func (f *follower) read() ([]sockstate.Socket, error) {
	if clock.Mono() < f.nextDump {
		socks, err := f.lookup()
		if !errors.Is(err, sockstate.ErrGone) {
			return socks, err
		}
	}
	began := clock.Mono()
	socks, err := f.diag.Dump()
	if err != nil {
		return nil, err
	}
	if s := f.diag.Stats(); s != f.stats {
		f.again(fmt.Sprintf("a dump was read again: %d times so far the table changed meanwhile, %d times the netlink buffer overran", s.Interrupted, s.Overruns))
		f.stats = s
	}
	now := clock.Mono()
	f.known, f.nextDump = f.own(socks), now+min(max(discoverEvery, discoverShare*(now-began)), discoverWithin)
	return f.known, nil
}

// lookup returns fresh copies: what was returned before may still be kept.
func (f *follower) lookup() ([]sockstate.Socket, error) {
	socks := make([]sockstate.Socket, len(f.known))
	for i, s := range f.known {
		if s.Info != nil {
			info := *s.Info
			s.Info = &info
		}
		if err := f.diag.Lookup(&s); err != nil {
			return nil, err
		}
		socks[i] = s
	}
	f.known = socks
	return socks, nil
}
