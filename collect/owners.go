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
	known  map[uint32]bool // by inode, unique on a host
}

type unowned struct {
	at     string // place
	inodes []uint32
}

// ownersEvery is the least time between two walks over the processes.
const ownersEvery = time.Second

// NewOwners returns a source that Sockets tell of the sockets they see. Redact
// takes the secrets out of the command lines that are recorded.
func NewOwners(redact func(args []string) []string) *Owners {
	return &Owners{redact: redact, found: make(chan unowned, 16), known: map[uint32]bool{}}
}

// see is called with every record of sockets. Where the walk does not keep up,
// the next record brings the same sockets again.
func (o *Owners) see(at string, socks []sockstate.Socket) {
	u := unowned{at: at}
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
	var fresh []uint32
	for _, i := range u.inodes {
		if !o.known[i] {
			fresh = append(fresh, i)
		}
	}
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
	for _, i := range fresh {
		o.known[i] = true // also where nobody may be seen: one walk a socket is enough
		w := &timeline.Owner{At: u.at, Inode: i, Unreadable: own.Unreadable}
		if p, ok := own.ByInode[i]; ok {
			p.Cmdline = o.redact(bounded(p.Cmdline))
			w.Process = &p
		}
		rec.Append(took, timeline.Body{Owner: w})
	}
	return true
}
