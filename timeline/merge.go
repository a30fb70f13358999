package timeline

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Merger reads recordings of several hosts or runs as one, in memory that does
// not grow with them. Recordings of one host since one boot share its monotonic
// clock, which orders them; the clocks of different hosts are joined by the two
// clocks of their headers, so that order is as good as their wall clocks were.
type Merger struct {
	// Header is that of the merged recording; its Merged tells of each source.
	Header Header
	// Gone counts the recordings that are not there any more: snapshots, of which no
	// more was to be kept. It is complete when Next has returned io.EOF.
	Gone    int
	sources []*source
	queue   sourceQueue
	ready   []Record
	n       uint64
	mono    time.Duration // of the last record
	ended   bool
}

// source is a recording that is merged.
type source struct {
	Source
	index  int // from 1
	path   string
	first  Record // its header
	series *Series
	next   Record
	due    time.Duration // merged monotonic time of next
	last   uint64        // number of the record before
	told   bool          // as in Recording
	ended  bool          // its last record so far was its end
	places map[string]string

	unwritten []byte // lines of it that are not on the disk
}

// ErrNothing is returned where there is nothing to merge.
var ErrNothing = errors.New("nothing to merge: name at least one recording")

// Merge opens the recordings that the paths are files of. Each is merged once. Of
// several, one that is not there any more is left out.
func Merge(paths []string) (*Merger, error) {
	m := &Merger{}
	paths = slices.Clone(paths)
	slices.Sort(paths)
	err := ErrNothing
	for _, path := range slices.Compact(paths) {
		s := &source{path: path}
		switch err = s.readHeader(); {
		case errors.Is(err, fs.ErrNotExist):
			m.Gone++
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		default:
			m.sources = append(m.sources, s)
		}
	}
	if len(m.sources) == 0 {
		return nil, err
	}
	slices.SortStableFunc(m.sources, func(a, b *source) int { return a.first.Time.Compare(b.first.Time) })
	m.join()
	for _, s := range m.sources {
		s.due = s.shifted(s.first.Mono)
		heap.Push(&m.queue, s)
	}
	return m, nil
}

// readHeader reads the first header and closes the files again: there may be more
// recordings than descriptors.
func (s *source) readHeader() error {
	series, err := Open(s.path)
	if err != nil {
		return err
	}
	defer series.Close()
	rec := Recording{Path: s.path}
	for rec.Header() == nil {
		r, err := series.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if r.Header != nil {
			s.first, rec.Records = r, []Record{r}
		}
	}
	rec.Damage, _ = series.Damage()
	return rec.check()
}

// join settles the offsets, and puts the headers together.
func (m *Merger) join() {
	ref := m.sources[0] // the earliest, so that no time comes out below zero
	h := *ref.first.Header
	h.Segment, h.Started, h.StartedMono, h.Merged, h.Places = 0, nil, 0, nil, nil
	h.Snapshot = !slices.ContainsFunc(m.sources, func(s *source) bool { return !s.first.Header.Snapshot })
	offset := func(s *source) time.Duration {
		return s.first.Time.Sub(ref.first.Time) - (s.first.Mono - ref.first.Mono)
	}
	boots := map[string]time.Duration{}
	taken := map[string]string{} // places, and whose they are
	var hosts []string
	for i, s := range m.sources {
		own := *s.first.Header
		s.index = i + 1
		s.Source = Source{
			Recording: strings.TrimSuffix(filepath.Base(s.path), Suffix), Host: own.Host, BootID: own.BootID, Snapshot: own.Snapshot,
			Synchronised: own.Synchronised, ClockError: own.ClockError, Offset: offset(s),
		}
		if o, ok := boots[own.BootID]; ok && own.BootID != "" {
			s.WallOffset, s.Offset = s.Offset-o, o
		} else {
			boots[own.BootID] = s.Offset
		}
		h.Merged = append(h.Merged, s.Source)
		h.Ports = append(slices.Clone(h.Ports), own.Ports...)
		h.Method = cmp.Or(h.Method, own.Method)
		h.Canary = cmp.Or(h.Canary, own.Canary)
		s.nameIn(taken, own, &h)
		if !slices.Contains(hosts, own.Host) {
			hosts = append(hosts, own.Host)
		}
	}
	slices.Sort(h.Ports)
	h.Ports = slices.Compact(h.Ports)
	h.Host = strings.Join(hosts, ", ")
	h.Format = Format
	m.Header = h
}

// nameIn gives the source's places names that no other host's have, and enters
// them into the header.
func (s *source) nameIn(taken map[string]string, own Header, h *Header) {
	s.places = map[string]string{}
	for _, p := range own.Places {
		name := p.Name
		for n := 1; taken[name] != "" && taken[name] != own.Host; n++ {
			name = p.Name + "@" + own.Host
			if n > 1 {
				name = fmt.Sprintf("%s-%d", name, n)
			}
		}
		known := taken[name] != ""
		s.places[p.Name], taken[name] = name, cmp.Or(own.Host, "?")
		if p.Name = name; !known {
			h.Places = append(h.Places, p)
		}
	}
}

// Next returns the next record of the merged recording, io.EOF behind its end.
func (m *Merger) Next() (Record, error) {
	for len(m.ready) == 0 {
		if m.ended {
			return Record{}, io.EOF
		}
		if err := m.fill(); err != nil {
			return Record{}, err
		}
	}
	r := m.ready[0]
	m.ready = m.ready[1:]
	m.n++
	m.mono = max(m.mono, r.Mono)
	r.N, r.Mono = m.n, m.mono
	return r, nil
}

func (m *Merger) fill() error {
	begin := m.sources[0].first
	switch {
	case m.n == 0:
		m.ready = append(m.ready, Record{Time: begin.Time, Mono: begin.Mono, Body: Body{Header: &m.Header}})
		return nil
	case len(m.queue) == 0:
		m.ended = true
		m.ready = append(m.ready, Record{Time: begin.Time.Add(m.mono - begin.Mono), Body: Body{End: &End{Reason: EndDone}}})
		return nil
	}
	s := m.queue[0]
	if s.series == nil {
		series, err := Open(s.path)
		if s.Snapshot && errors.Is(err, fs.ErrNotExist) {
			m.Gone++
			heap.Pop(&m.queue)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		series.unwritten = s.unwritten
		s.series = series
	} else {
		m.ready = append(m.ready, s.records()...)
	}
	if s.advance() {
		heap.Fix(&m.queue, 0)
	} else {
		m.ready = append(m.ready, s.damage()...)
		heap.Pop(&m.queue)
	}
	return nil
}

// Close lets go of the files.
func (m *Merger) Close() error {
	for _, s := range m.sources {
		if s.series != nil {
			s.series.Close()
		}
	}
	return nil
}
