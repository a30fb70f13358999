package verdict

import (
	"reflect"
	"time"

	"halfopen/sockstate"
)

// Look is one look at the sockets of a namespace.
type Look struct {
	Time     time.Time           `json:"time"`
	Via      string              `json:"via"` // diag or procfs
	Ports    []sockstate.Census  `json:"ports"`
	Counters *sockstate.Counters `json:"counters,omitempty"` // since the namespace was made
}

// Change is how something went from one look to the next.
type Change struct {
	Name string
	Now  int64
	// By is how much it grew; absent with one look only, or where one of two
	// looks does not know it.
	By *int64
}

// StateChanges lists the counts of a port by state, in the kernel's order of
// states, those that are zero in both looks left out. First may be nil.
func StateChanges(first, last *Look, port int, side func(sockstate.Census) map[sockstate.State]int) (list []Change) {
	for s := sockstate.Established; s <= sockstate.Closing; s++ {
		c := Change{Name: s.String(), Now: int64(side(last.Ports[port])[s])}
		if first != nil {
			by := c.Now - int64(side(first.Ports[port])[s])
			c.By = &by
		}
		if c.Now != 0 || c.By != nil && *c.By != 0 {
			list = append(list, c)
		}
	}
	return list
}

// CounterChanges lists the kernel's counters by their own names. First may be nil.
func CounterChanges(first, last *Look) (list []Change) {
	if last.Counters == nil {
		return nil
	}
	now := reflect.ValueOf(*last.Counters)
	for i := range now.NumField() {
		v, ok := now.Field(i).Interface().(*uint64)
		if !ok || v == nil {
			continue
		}
		c := Change{Name: now.Type().Field(i).Name, Now: int64(*v)}
		if first != nil && first.Counters != nil {
			if before, ok := reflect.ValueOf(*first.Counters).Field(i).Interface().(*uint64); ok && before != nil {
				by := int64(*v - *before)
				c.By = &by
			}
		}
		list = append(list, c)
	}
	return list
}
