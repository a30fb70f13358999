package collect

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"halfopen/netns"
	"halfopen/timeline"
)

// Namespaces has each network namespace read once, however many places of a
// recording lie in it: a shipper and its receiver on one host, the containers of
// one pod.
type Namespaces struct {
	order []timeline.Place

	mu       sync.Mutex
	in       map[uint64][]*Shared  // by inode; the first reads, the others wait
	expected map[string]uint64     // inodes of the places that have not come yet
	single   map[uint64]*sync.Once // of a snapshot, by inode
}

// NewNamespaces takes the places of the header. Of several in one namespace the
// first gives its name to what is read.
func NewNamespaces(places []timeline.Place) *Namespaces {
	n := &Namespaces{order: places, in: map[uint64][]*Shared{}, expected: map[string]uint64{}, single: map[uint64]*sync.Once{}}
	for _, p := range places {
		n.expected[p.Name] = p.NetNS
	}
	return n
}

// Where tells the place that a reading is recorded under, and the others in the
// same namespace, for which it holds too.
type Where func() (at string, also []string)

// or is place, without others, where w is nil.
func (w Where) or(place string) (at string, also []string) {
	if w == nil {
		return place, nil
	}
	return w()
}

// Shared is what one place reads of its namespace for all places in it. When it
// ends, the next of them goes on.
type Shared struct {
	all     *Namespaces
	inode   uint64
	place   string
	sources []Source
	turn    chan struct{} // closed when this one reads
}

// Share enters a namespace on behalf of a place. Leave must be called when the
// sources have ended.
func (n *Namespaces) Share(ns *netns.NS, place string, open func(Where) []Source) (*Shared, error) {
	inode, err := ns.Inode()
	if err != nil {
		return nil, err
	}
	s := &Shared{all: n, inode: inode, place: place, turn: make(chan struct{})}
	s.sources = open(s.where)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.expected, place)
	n.in[inode] = append(n.in[inode], s)
	if n.in[inode][0] == s {
		close(s.turn)
	}
	return s, nil
}

// once has a namespace read a single time; whoever comes meanwhile waits.
func (n *Namespaces) once(inode uint64, read func()) {
	n.mu.Lock()
	only := n.single[inode]
	if only == nil {
		only = &sync.Once{}
		n.single[inode] = only
	}
	n.mu.Unlock()
	only.Do(read)
}

// Leave lets the next place of the namespace read.
func (s *Shared) Leave() {
	n := s.all
	n.mu.Lock()
	defer n.mu.Unlock()
	read := n.in[s.inode][0] == s
	rest := slices.DeleteFunc(n.in[s.inode], func(x *Shared) bool { return x == s })
	switch n.in[s.inode] = rest; {
	case len(rest) == 0:
		delete(n.in, s.inode)
	case read:
		close(rest[0].turn)
	}
}

func (s *Shared) where() (at string, also []string) {
	n := s.all
	n.mu.Lock()
	defer n.mu.Unlock()
	var places []string
	for _, p := range n.order {
		come := slices.ContainsFunc(n.in[s.inode], func(x *Shared) bool { return x.place == p.Name })
		if come || n.expected[p.Name] == s.inode {
			places = append(places, p.Name)
		}
	}
	if len(places) == 0 { // it has left, and a reading that hung is done after all
		return s.place, nil
	}
	return places[0], places[1:]
}

// Run reads until ctx ends, once it is this place's turn.
func (s *Shared) Run(ctx context.Context, rec *Recorder) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.turn:
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, source := range s.sources {
		group.Go(func() error { return source.Run(ctx, rec) })
	}
	return group.Wait()
}

// Keep keeps the raw evidence of the one that reads.
func (s *Shared) Keep(ctx context.Context, rec *Recorder, phase string) {
	select {
	case <-s.turn:
		keep(ctx, rec, witnesses(s.sources), phase)
	default:
	}
}
