package collect

import (
	"bytes"
	"sync"
	"time"

	"halfopen/timeline"
)

// copied is a line that is to be copied.
type copied struct {
	source string
	inode  uint64
	offset int64 // in the source
	size   int64 // in the source, newline included
	bytes  []byte
	open   bool              // no newline
	read   time.Duration     // when, monotonic
	events []*timeline.Event // what it says
}

// batch is lines on their way to the disk. Those of each file lie together, so
// that the index stays short when the lines of many files take turns; those of
// one log stay in their order.
type batch struct {
	piles []*pile          // in the order of their first lines
	at    map[string]*pile // the last one of each source
	last  *pile
	size  int // of memory, about
}

type origin struct {
	source string
	inode  uint64
}

// pile is lines of one file.
type pile struct {
	origin
	bytes  []byte
	runs   []stretch
	open   bool // bytes end within a line
	mu     sync.Mutex
	events []said
}

// stretch is what is byte for byte as in the source.
type stretch struct {
	at, bytes, lines int
	from, to         int64 // offsets in the source
}

// said is an event and where its line begins in a pile.
type said struct {
	*timeline.Event
	at   int
	read time.Duration
}

// eventSize is what an event takes besides its texts, about.
const eventSize = 512

// weight is how much of a batch a line takes.
func (l copied) weight() int {
	n := len(l.bytes) + 1
	for _, e := range l.events {
		n += eventSize + len(e.Line) + len(e.Message)
	}
	return n
}

func (b *batch) add(l copied) {
	b.size += l.weight()
	o := origin{l.source, l.inode}
	p := b.last
	if p == nil || p.origin != o {
		if p = b.at[l.source]; p == nil || p.inode != l.inode {
			if b.at == nil {
				b.at = map[string]*pile{}
			}
			p = &pile{origin: o}
			b.at[l.source] = p
			b.piles = append(b.piles, p)
		}
		b.last = p
	}
	p.add(l)
}

func (p *pile) add(l copied) {
	if p.open { // a line of its own for what is no continuation
		p.bytes = append(p.bytes, '\n')
		p.runs = append(p.runs, stretch{})
	}
	at := len(p.bytes)
	for _, e := range l.events {
		p.events = append(p.events, said{e, at, l.read})
	}
	p.bytes = append(p.bytes, l.bytes...)
	if p.open = l.open; !l.open {
		p.bytes = append(p.bytes, '\n')
	}
	if n := len(p.runs); n > 0 && p.runs[n-1].lines > 0 && p.runs[n-1].to == l.offset {
		p.runs[n-1].bytes += len(p.bytes) - at
		p.runs[n-1].lines++
	} else {
		p.runs = append(p.runs, stretch{at: at, bytes: len(p.bytes) - at, lines: 1, from: l.offset})
	}
	p.runs[len(p.runs)-1].to = l.offset + l.size
	if l.size != int64(len(p.bytes)-at) { // it was cut: neither its newline nor what follows is where it would be
		p.runs[len(p.runs)-1].bytes--
		p.runs = append(p.runs, stretch{})
	}
}

// first leaves out what lies behind the first n bytes, which end with a line, and
// says how much that was.
func (p *pile) first(n int) (lost lost) {
	lost.bytes = int64(len(p.bytes) - n)
	kept := p.runs[:0]
	for _, r := range p.runs {
		if end := r.at + r.bytes; end > n && r.lines > 0 {
			lines := bytes.Count(p.bytes[min(r.at, n):n], []byte("\n"))
			lost.lines += int64(r.lines - lines)
			r.bytes, r.lines = max(0, n-r.at), lines
		}
		if r.lines > 0 {
			kept = append(kept, r)
		}
	}
	p.bytes, p.runs = p.bytes[:n], kept
	return lost
}
