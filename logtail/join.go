package logtail

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

const (
	// maxMessage is how much of a joined message is kept, in bytes.
	maxMessage = 1 << 20
	// maxPending is how much unfinished messages may take together, in bytes:
	// each its text and pendingCost, maxLast of it for its last line.
	maxPending  = 8 << 20
	pendingCost = 2 << 10
	maxLast     = 1 << 10
)

// joiner joins the messages that a container engine split: Docker and
// containerd after 16 KiB. The parts of a stream come in order, those of the
// other stream between them.
type joiner struct {
	pending map[streamID]*pending
	size    int // of all of them, in bytes
}

type streamID struct{ file, stream string }

type pending struct {
	first Message
	text  []byte
	last  []byte // the beginning of the line that came last
}

// join adds a part, or gives the whole message with its last. Where there is no
// room for another unfinished message, parts are given as they are.
func (j *joiner) join(m Message) (whole Message, ok bool) {
	id := streamID{m.File, m.Stream}
	p := j.pending[id]
	if p == nil {
		if !m.Partial || j.size+pendingCost > maxPending {
			return m, true
		}
		if j.pending == nil {
			j.pending = map[streamID]*pending{}
		}
		p = &pending{first: m}
		p.first.Message, p.first.Lines = "", 0
		j.pending[id] = p
		j.size += pendingCost
	}
	p.first.Lines++
	p.first.Cut = p.first.Cut || m.Cut
	room := min(len(m.Message), maxMessage-len(p.text), max(0, maxPending-j.size))
	if room < len(m.Message) {
		p.first.Cut = true
	}
	p.text = append(p.text, m.Message[:room]...)
	j.size += room
	p.first.Last = m.Last
	if m.Partial {
		p.last = append(p.last[:0], m.Last.Bytes[:min(len(m.Last.Bytes), maxLast)]...)
		p.first.Last.Bytes = p.last
		return Message{}, false
	}
	return j.take(id, false), true
}

// take ends a pending message.
func (j *joiner) take(id streamID, partial bool) Message {
	p := j.pending[id]
	delete(j.pending, id)
	j.size -= pendingCost + len(p.text)
	m := p.first
	m.Message, m.Partial = string(p.text), partial
	return m
}

// flush ends all of them, in the order of their files.
func (j *joiner) flush() (all []Message) {
	for id := range maps.Clone(j.pending) {
		all = append(all, j.take(id, true))
	}
	slices.SortFunc(all, func(a, b Message) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}
