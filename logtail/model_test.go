package logtail_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/logtail"
)

// modelMax is MaxLine in the property test; some lines are longer.
const modelMax = 4 << 10

// modelPoll is the tick. On a machine under load a thread can wait for seconds, and after ten
// ticks without a byte a line stays unfinished.
const modelPoll = 300 * time.Millisecond

// text is the line with this number: it can be told from every other, and a
// line joined from two is none.
func text(id int) string {
	size := id * 7 % 300
	if id%500 == 499 {
		size = 2 * modelMax
	}
	body := fmt.Sprintf("%08d %s", id, strings.Repeat(string(rune('a'+id%26)), size))
	return fmt.Sprintf("%s %08x", body, crc32.ChecksumIEEE([]byte(body)))
}

// record is what a Follow gave, in order.
type record struct {
	t       *testing.T
	mu      sync.Mutex
	changed chan struct{} // holds one value when something came
	times   map[int]int   // whole lines by number
	partial map[int]int   // partial ones
	gaps    []logtail.Gap
	notes   []string
	last    map[uint64]int // by inode, the number of its last line
	newest  int
	end     logtail.Position // of the newest line
	bad     []string

	path      string
	positions string // path of the file of positions; empty: there is none
	saved     *logtail.Positions
	follow    follower
	cancel    context.CancelFunc
	done      chan error
}

func newRecord(t *testing.T, path string) *record {
	return &record{
		t: t, path: path, follow: logtail.Follow, changed: make(chan struct{}, 1),
		times: map[int]int{}, partial: map[int]int{}, last: map[uint64]int{},
	}
}

func (r *record) start(from logtail.Start) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	cfg := logtail.Config{Path: r.path, From: from, MaxLine: modelMax, Poll: modelPoll}
	if r.positions != "" {
		var err error
		if r.saved, err = logtail.OpenPositions(r.positions); err != nil {
			r.t.Fatal(err)
		}
		cfg.Positions = r.saved
	}
	go func() {
		r.done <- r.follow(ctx, cfg, logtail.Handler{
			Line: func(l logtail.Line) error { r.with(func() { r.line(l) }); return nil },
			Gap:  func(g logtail.Gap) { r.with(func() { r.gaps = append(r.gaps, g) }) },
			Note: func(s string) { r.with(func() { r.notes = append(r.notes, s) }) },
		})
	}()
}

func (r *record) stop() {
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Fatalf("Follow: %v", err)
	}
	if r.saved != nil {
		if err := r.saved.Save(nil); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *record) with(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// line checks a line against the text of its number.
func (r *record) line(l logtail.Line) {
	got := string(l.Bytes)
	id := -1
	if _, err := fmt.Sscanf(got, "%08d", &id); err != nil || (!l.Partial && len(got) < 8) {
		if !l.Partial || len(got) >= 8 {
			r.bad = append(r.bad, fmt.Sprintf("not a line: %q %+v", got, l))
		}
		return
	}
	want := text(id)
	switch {
	case l.Partial:
		if len(got) < 8 {
			return // too short to tell which
		}
		r.partial[id]++
		if !strings.HasPrefix(want, got) || (l.Size != int64(len(got)) && !l.Cut) {
			r.bad = append(r.bad, fmt.Sprintf("partial line %d: %q", id, got))
		}
		return
	case l.Cut:
		if len(want) <= modelMax || got != want[:modelMax] {
			r.bad = append(r.bad, fmt.Sprintf("cut line %d: %d bytes", id, len(got)))
		}
	case got != want:
		r.bad = append(r.bad, fmt.Sprintf("line %d: %q", id, got))
	}
	if l.Size != int64(len(want))+1 {
		r.bad = append(r.bad, fmt.Sprintf("line %d: size %d, want %d", id, l.Size, len(want)+1))
	}
	if last, ok := r.last[l.Inode]; ok && l.Offset > 0 && id <= last {
		r.bad = append(r.bad, fmt.Sprintf("line %d after %d in inode %d", id, last, l.Inode))
	}
	r.last[l.Inode] = id
	r.times[id]++
	if id >= r.newest {
		r.newest, r.end = id, logtail.Position{Inode: l.Inode, Offset: l.Offset + l.Size}
	}
}

// await waits until ok, called with the record locked, says so.
func (r *record) await(what string, ok func() bool) {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.changed:
		case <-timeout:
			r.mu.Lock()
			defer r.mu.Unlock()
			tail := r.notes[max(0, len(r.notes)-12):]
			r.t.Fatalf("waited %v for %s; bad %q; gaps %d; last notes %s", patience, what, r.bad, len(r.gaps), strings.Join(tail, "\n"))
		}
	}
}
