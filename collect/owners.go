package collect

import (
	"context"
	"slices"
	"time"

	"halfopen/clock"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Owners names the processes behind sockets, one record a socket when it first
// appears. It reads every descriptor of every process, so it is a source of its
// own: a look-up of 100 ms must not delay the readings of the sockets.
type Owners struct {
	redact func(args []string) []string // takes the secrets out of a command line
	found  chan unowned
	known  map[string][]uint32 // by place, sorted: the sockets that are there and have been looked for
}

type unowned struct {
	at     string
	also   []string // as in timeline.Sockets
	inodes []uint32 // unique on a host
}

// ownersEvery is the least time between two walks over the processes.
const ownersEvery = time.Second

// NewOwners returns a source that Sockets tell of the sockets they see. Redact
// takes the secrets out of the command lines that are recorded.
func NewOwners(redact func(args []string) []string) *Owners {
	return &Owners{redact: redact, found: make(chan unowned, 16), known: map[string][]uint32{}}
}

// see is called with every record of sockets. Where the walk does not keep up,
// the next record brings the same sockets again.
func (o *Owners) see(at string, also []string, socks []sockstate.Socket) {
	u := unowned{at: at, also: also}
	for _, s := range socks {
		if s.Inode != 0 {
			u.inodes = append(u.inodes, s.Inode)
		}
	}
	select {
	case o.found <- u:
	default:
	}
}

// Run names owners until ctx ends.
func (o *Owners) Run(ctx context.Context, rec *Recorder) error {
	rest := time.NewTicker(ownersEvery)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-o.found:
			if !o.name(rec, u) {
				continue
			}
		}
		rest.Reset(ownersEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-rest.C:
		}
	}
}

// maxCmdline is how much of a command line is recorded: any user of the host may
// connect to the port with a megabyte of arguments.
const maxCmdline = 4 << 10

// bounded cuts a command line; what follows the cut is "…".
func bounded(args []string) []string {
	room := maxCmdline
	for i, a := range args {
		if room -= len(a); room < 0 {
			return append(slices.Clone(args[:i]), a[:len(a)+room]+"…")
		}
	}
	return args
}

// name records the owners of the sockets that are new, and reports whether it
// had to look for any.
func (o *Owners) name(rec *Recorder, u unowned) bool {
	slices.Sort(u.inodes)
	fresh := slices.DeleteFunc(slices.Clone(u.inodes), func(i uint32) bool {
		_, known := slices.BinarySearch(o.known[u.at], i)
		return known
	})
	o.known[u.at] = u.inodes // also where nobody will be found: one walk a socket is enough
	if len(fresh) == 0 {
		return false
	}
	began := clock.Mono()
	own, err := sockstate.Owners("/proc", fresh)
	took := clock.Mono() - began
	if err != nil {
		rec.Fail("owners of sockets of "+u.at, took, err)
		return true
	}
	said := map[int][]string{} // by process: one may hold thousands of them
	for _, i := range fresh {
		w := &timeline.Owner{At: u.at, Also: u.also, Inode: i, Unreadable: own.Unreadable}
		if p, ok := own.ByInode[i]; ok {
			if _, known := said[p.PID]; !known {
				said[p.PID] = o.redact(bounded(p.Cmdline))
			}
			p.Cmdline = said[p.PID]
			w.Process = &p
		}
		rec.Append(took, timeline.Body{Owner: w})
	}
	return true
}
