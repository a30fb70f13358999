package collect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"halfopen/capture"
	"halfopen/clock"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/timeline"
)

// Captures writes the headers of the packets of all captured places into one ring
// of evidence files. It is a Source too, which ends the last file when the captures
// have ended.
type Captures struct {
	Where string // part of the files' names: a place, or all
	Tool  string // named in the files
	Size  int64  // bytes of a file, then the next is begun
	Keep  int    // files

	mu     sync.Mutex
	ring   *capture.Ring
	closed bool
	all    sync.WaitGroup
}

// enter counts a capture in, unless the recording has ended.
func (c *Captures) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errEnded
	}
	c.all.Add(1)
	return nil
}

var errEnded = errors.New("the recording has ended")

// begin makes the ring of files, for the first capture.
func (c *Captures) begin(rec *Recorder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring == nil {
		c.ring = &capture.Ring{
			Name: func(n int) string { return rec.Path(c.name(n)) }, Size: c.Size, Keep: c.Keep, Tool: c.Tool,
			Closed: func(f capture.File) {
				rec.Append(0, timeline.Body{File: &timeline.File{Name: filepath.Base(f.Path), What: fmt.Sprintf("headers of %d packets, without payload", f.Packets)}})
			},
			Removed: func(f capture.File) {
				rec.Append(0, timeline.Body{Removed: &timeline.Removed{Names: []string{filepath.Base(f.Path)}, Bytes: f.Bytes, Why: fmt.Sprintf("no more than %d files of packets are kept", c.Keep)}})
			},
		}
	}
}

// name is the last part of the n-th file's name.
func (c *Captures) name(n int) string {
	if n == 1 {
		return "capture-" + c.Where + ".pcapng"
	}
	return fmt.Sprintf("capture-%s-%04d.pcapng", c.Where, n)
}

// Run ends the last file when ctx ends.
func (c *Captures) Run(ctx context.Context, rec *Recorder) error {
	<-ctx.Done()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.all.Wait()
	if c.ring != nil {
		c.lose(rec, c.ring.Close())
	}
	return nil
}

// lose records that packets can't be written any more: what they say is recorded
// all the same.
func (c *Captures) lose(rec *Recorder, err error) {
	if err != nil {
		rec.Lose("captured packets", fmt.Errorf("%w; no more packets are written", err))
	}
}

// Capture records what the packets of the watched ports say, in one network
// namespace, and has their headers written.
type Capture struct {
	At    string // place
	Where Where  // nil: At alone
	NS    *netns.NS
	Ports flow.Ports
	Not   netip.Addr // address of the canary: its packets are in the file, not in the timeline
	To    *Captures

	sock *capture.Socket
}

// Open begins to capture before Run, which then has what came meanwhile, as far as
// the kernel keeps it, even if the recording ends first. Where Captures runs, it waits
// for that Run; where the recording never begins, Close ends it.
func (s *Capture) Open() (err error) {
	if err = s.To.enter(); err != nil {
		return err
	}
	if s.sock, err = capture.Open(s.NS, s.Ports); err != nil {
		s.To.all.Done()
	}
	return err
}

// Close ends a capture that Run has not begun.
func (s *Capture) Close() error {
	if s.sock == nil {
		return nil
	}
	return s.sock.Close()
}

// How often a capture looks up from its packets.
const (
	captureTick  = 100 * time.Millisecond
	captureFlush = time.Second // to the disk, and to ask for what the kernel dropped
	captureTold  = 200         // records of one captureFlush
)

// capturing is a Capture at work.
type capturing struct {
	*Capture
	rec      *Recorder
	seen     capture.Observer
	packets  uint64
	dropped  uint64
	told     int   // since the last flush
	unspoken int64 // since the last flush
	untold   uint64
}

// Run captures until ctx ends.
func (s *Capture) Run(ctx context.Context, rec *Recorder) error {
	w := &capturing{Capture: s, rec: rec, seen: capture.Observer{Ports: s.Ports, Not: s.Not}}
	if s.sock == nil {
		if err := s.Open(); err != nil {
			if !errors.Is(err, errEnded) {
				rec.Fail(w.source(), 0, err)
			}
			return nil
		}
	}
	defer s.To.all.Done()
	defer s.sock.Close()
	s.To.begin(rec)
	w.tell(false)
	err := w.loop(ctx)
	if err == nil {
		err = w.drain()
	}
	w.due(true)
	w.flush()
	w.tell(true)
	if err != nil {
		rec.Fail(w.source(), 0, err)
	}
	return nil
}

func (w *capturing) source() string { return "capture at " + w.At }

func (w *capturing) loop(ctx context.Context) error {
	flushed := time.Now()
	for next := time.Now().Add(captureTick); ctx.Err() == nil; {
		p, err := w.sock.Read(next)
		if err == nil {
			w.take(p)
		} else if !errors.Is(err, capture.ErrNone) {
			return err
		}
		now := time.Now()
		if now.Before(next) {
			continue
		}
		next = now.Add(captureTick)
		w.due(false)
		if now.Sub(flushed) >= captureFlush {
			flushed = now
			w.flush()
		}
	}
	return nil
}

func (w *capturing) take(p capture.Packet) {
	w.packets++
	w.seen.Add(p)
	w.To.lose(w.rec, w.To.ring.Write(w.At, p))
}

// When what had come by the end is taken: nothing waits and no packet comes for a while, or
// one is younger. On a host that is starved so much time is over first.
const (
	drainFor  = 10 * time.Millisecond
	drainMost = 3 * time.Second
)

var errLeft = fmt.Errorf("packets were left unread: more had come by the end than could be taken in %s", drainMost)

// drain takes what the kernel kept. The time of a packet may be that of the reading
// (capture.Open): younger is one that waited, and yet came after the end.
func (w *capturing) drain() error {
	end := time.Now()
	until, empty := end, false
	for asked := end; asked.Sub(end) < drainMost; asked = time.Now() {
		p, err := w.sock.Read(until)
		switch {
		case errors.Is(err, capture.ErrNone) && !empty:
			until, empty = time.Now().Add(drainFor), true
		case errors.Is(err, capture.ErrNone):
			return nil
		case err != nil:
			return err
		case p.Time.After(end) && p.Time.Before(asked):
			return nil
		default:
			w.take(p)
		}
	}
	return errLeft
}

// due records what there is to tell of connections.
func (w *capturing) due(all bool) {
	at, also := w.Where.or(w.At)
	for _, c := range w.seen.Due(clock.Mono(), all) {
		if w.told++; w.told > captureTold && !all {
			w.unspoken++
			continue
		}
		w.rec.Append(0, timeline.Body{Packets: &timeline.Packets{At: at, Also: also, Connection: c}})
	}
}

func (w *capturing) flush() {
	w.To.lose(w.rec, w.To.ring.Flush())
	if dropped, err := w.sock.Dropped(); err != nil {
		w.rec.Fail(w.source(), 0, err)
	} else if dropped > w.dropped {
		w.gap(int64(dropped-w.dropped), "packets came faster than they were read; the kernel dropped them from the capture, not from the connection")
		w.dropped = dropped
	}
	w.gap(w.unspoken, "more records of connections than are told in a second")
	w.untold += uint64(w.unspoken)
	w.told, w.unspoken = 0, 0
}

func (w *capturing) gap(lost int64, why string) {
	if lost > 0 {
		w.rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: w.source(), Lost: lost, Why: why}})
	}
}

func (w *capturing) tell(ended bool) {
	at, also := w.Where.or(w.At)
	w.rec.Append(0, timeline.Body{Capture: &timeline.Capture{At: at, Also: also, Ended: ended, Packets: w.packets, Dropped: w.dropped, Odd: w.sock.Odd(), Untold: w.untold}})
}

// CaptureName is the part of the files' names that says where: a place, or "all" of
// several. What a file name does without becomes a dash.
func CaptureName(places []timeline.Place) string {
	if len(places) != 1 {
		return "all"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, places[0].Name)
}
