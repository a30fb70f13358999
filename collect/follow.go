package collect

import (
	"errors"
	"time"

	"halfopen/clock"
	"halfopen/sockstate"
)

// discoverEvery is how often new connections are looked for. Those that are
// known are read by exact look-up, which costs the same however many sockets the
// namespace has; a dump does not.
const discoverEvery = time.Second

// follower reads the sockets of the watched ports: a dump now and then, and look-ups
// between. A socket that is gone brings the next dump forward, so that what came
// in its place is seen at once.
type follower struct {
	diag     *sockstate.Diag
	own      func([]sockstate.Socket) []sockstate.Socket // leaves out what is not to be recorded
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
	socks, err := f.diag.Dump()
	if err != nil {
		return nil, err
	}
	f.known, f.nextDump = f.own(socks), clock.Mono()+discoverEvery
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
