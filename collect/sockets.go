package collect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"halfopen/clock"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// One record of unchanged readings stands for foldFor at most, and for foldHurry
// where data in flight have just begun to go unanswered.
const (
	foldFor   = time.Second
	foldHurry = 200 * time.Millisecond
)

// Sockets reads the sockets of one namespace on the watched ports.
type Sockets struct {
	At    string // place
	Where Where  // of the records; nil is At alone
	NS    *netns.NS
	// Root, where NS is nil, is the /proc folder of a process in it, which shows its
	// tables to who may not enter.
	Root  string
	Ports flow.Ports
	Every time.Duration
	// Canary is the address whose connections are left out: they have records
	// of their own. The zero Addr leaves out nothing.
	Canary netip.Addr
	// Via is how to read: Auto, Diag or Procfs; empty is Auto. What is named must
	// work, or the recording ends.
	Via string
	// Owners and Onset, where not nil, are told of the sockets.
	Owners *Owners
	Onset  *Onset
}

// Run reads until ctx ends: by inet_diag, or from /proc where the kernel or the
// rights do not allow that.
func (s *Sockets) Run(ctx context.Context, rec *Recorder) error {
	read, via, done, err := s.reader(rec)
	if err != nil {
		return fmt.Errorf("read the sockets of %s: %w", s.At, err)
	}
	defer done()
	at, also := s.Where.or(s.At) // of the last reading
	f := fold[[]sockstate.Socket]{same: sameSockets, hurry: falling}
	f.emit = func(socks []sockstate.Socket, readings int, since, took time.Duration) {
		rec.Append(took, timeline.Body{Sockets: &timeline.Sockets{
			At: at, Also: also, Via: via, Readings: readings, Since: since, Sockets: kept(socks),
		}})
		if s.Owners != nil {
			s.Owners.see(at, also, socks)
		}
		s.Onset.sockets(at, socks)
	}
	often(ctx, s.Every, func() {
		began := clock.Mono()
		socks, err := read()
		if err != nil {
			rec.Fail("sockets of "+s.At, clock.Mono()-began, err)
			return
		}
		if a, b := s.Where.or(s.At); a != at || !slices.Equal(b, also) {
			f.flush()
			at, also = a, b
		}
		f.add(socks, began)
	})
	f.flush()
	return nil
}

// fallen is how many retransmissions without an answer are no beginning any more;
// the RTO has doubled to 6 s by then.
const fallen = 5

// falling reports whether a connection has begun to send again what it sent.
func falling(socks []sockstate.Socket) bool {
	return slices.ContainsFunc(socks, func(k sockstate.Socket) bool {
		return k.State == sockstate.Established && k.Timer == sockstate.TimerRetransmit && k.Retransmits > 0 && k.Retransmits < fallen
	})
}

// kept is a copy for a record, which its observers may keep.
func kept(socks []sockstate.Socket) []sockstate.Socket {
	socks = slices.Clone(socks)
	for i := range socks {
		if info := socks[i].Info; info != nil {
			mine := *info
			socks[i].Info = &mine
		}
	}
	return socks
}

// Ways to read sockets.
const (
	Auto   = "auto"   // inet_diag, and /proc where that can't be had
	Diag   = "diag"   // inet_diag with tcp_info
	Procfs = "procfs" // the text of /proc/net/tcp and tcp6
)

func (s *Sockets) reader(rec *Recorder) (read func() ([]sockstate.Socket, error), via string, done func(), err error) {
	if s.Via != Procfs && s.NS != nil {
		diag, err := sockstate.OpenDiag(s.NS, s.Ports)
		if err == nil {
			f := &follower{diag: diag, own: s.own, again: func(why string) { rec.Fail("sockets of "+s.At, 0, errors.New(why)) }}
			if _, err = f.read(); err == nil {
				return f.read, Diag, func() { diag.Close() }, nil
			}
			diag.Close()
		}
		if s.Via == Diag {
			return nil, "", nil, err
		}
		rec.Fail("sockets of "+s.At, 0, fmt.Errorf("inet_diag can't be used, reading /proc/net/tcp instead: %w", err))
	}
	return func() ([]sockstate.Socket, error) { return s.readProc(rec) }, Procfs, func() {}, nil
}

func (s *Sockets) root() string {
	if s.NS == nil {
		return s.Root
	}
	return s.NS.ProcRoot()
}

func (s *Sockets) readProc(rec *Recorder) ([]sockstate.Socket, error) {
	socks, bad, err := sockstate.ReadProc(s.root(), s.Ports)
	for _, b := range bad {
		rec.Fail("sockets of "+s.At, 0, fmt.Errorf("line %d of the socket table: %s: %q", b.Line, b.Why, b.Text))
	}
	return s.own(socks), err
}

// own leaves the canary's connections out and sorts the others: the kernel's
// order is that of its hash table.
func (s *Sockets) own(socks []sockstate.Socket) []sockstate.Socket {
	socks = slices.DeleteFunc(socks, func(k sockstate.Socket) bool { return k.Local.Addr() == s.Canary })
	slices.SortFunc(socks, func(a, b sockstate.Socket) int {
		// Listeners may share an address.
		return cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote), cmp.Compare(a.Cookie, b.Cookie))
	})
	return socks
}

func sameSockets(a, b []sockstate.Socket) bool {
	return slices.EqualFunc(a, b, func(x, y sockstate.Socket) bool { return x.Steady(y) })
}

// Keep writes the namespace's rows of /proc/net/tcp and tcp6 as they are, and
// the same sockets decoded.
func (s *Sockets) Keep(_ context.Context, rec *Recorder, phase string) {
	source := "sockets of " + s.At
	raw, err := sockstate.RawProc(s.root(), s.Ports)
	if err != nil {
		rec.Fail(source, 0, err)
		return
	}
	at, also := s.Where.or(s.At)
	var text bytes.Buffer
	fmt.Fprintf(&text, "# rows of /proc/net/tcp and tcp6, place %s, ports %v\n", strings.Join(append([]string{at}, also...), " and "), hexPorts(s.Ports))
	text.Write(raw)
	socks, _, err := sockstate.ReadProc(s.root(), s.Ports)
	if err != nil {
		rec.Fail(source, 0, err)
	}
	text.WriteString("# decoded\n")
	for _, k := range socks {
		line, err := json.Marshal(k)
		if err != nil {
			rec.Fail(source, 0, err)
			continue
		}
		text.Write(append(line, '\n'))
	}
	rec.keepRaw(fmt.Sprintf("sockets-%s-%s-%s.log", phase, stamp(), at), "socket table", text.Bytes())
}

func hexPorts(ports flow.Ports) (out []string) {
	for _, p := range ports {
		out = append(out, fmt.Sprintf("%d (%s)", p, flow.Hex(p)))
	}
	return out
}
