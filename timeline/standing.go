package timeline

import (
	"fmt"
	"slices"
)

// standing is what every segment says again: settings, processes, captures and
// owners of sockets, which a reader would otherwise learn from earlier segments only.
type standing struct {
	keys   []string
	bodies []Body
}

// maxStanding bounds it: what has not been told for the longest time goes first.
const maxStanding = 256

func (s *standing) keep(b Body) {
	var key string
	switch {
	case b.Settings != nil:
		key = "settings " + b.Settings.Name
	case b.Party != nil:
		key = fmt.Sprintf("party %s at %s", b.Party.Name, b.Party.At)
	case b.Capture != nil:
		key = "capture at " + b.Capture.At
	case b.Owner != nil:
		key = fmt.Sprintf("owner of %d at %s", b.Owner.Inode, b.Owner.At)
	default:
		return
	}
	drop := slices.Index(s.keys, key)
	if drop < 0 && len(s.keys) == maxStanding {
		drop = 0
	}
	if drop >= 0 {
		s.keys = slices.Delete(s.keys, drop, drop+1)
		s.bodies = slices.Delete(s.bodies, drop, drop+1)
	}
	s.keys, s.bodies = append(s.keys, key), append(s.bodies, b)
}
