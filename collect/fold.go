package collect

import (
	"cmp"
	"time"

	"halfopen/clock"
)

// fold joins readings that are the same into one: a stalled connection is read
// ten times a second and shows nothing new. Nothing is lost: what is emitted is
// the last of the readings that were the same, with their number and the time of
// the first, so a change is known to lie between two readings.
type fold[T any] struct {
	same func(a, b T) bool
	most time.Duration // that a record of unchanged readings stands for; 0: foldFor
	// emit writes a record; since is the monotonic time of the first reading it
	// stands for, took reaches back to the start of the last one.
	emit func(v T, readings int, since, took time.Duration)
	// hurry, if there is one, reports whether a reading shows the beginning of what
	// shall be known soon.
	hurry func(v T) bool

	last     T
	began    time.Duration // monotonic start of the last reading
	since    time.Duration // monotonic start of the first reading not emitted yet
	readings int           // not emitted yet
	emitted  time.Duration // monotonic start of the last reading emitted, 0 = none yet
}

// add takes a reading that began at the given monotonic time and ended now.
func (f *fold[T]) add(v T, began time.Duration) {
	changed := f.emitted == 0 || !f.same(f.last, v)
	if changed {
		f.flush()
	}
	if f.readings == 0 {
		f.since = began
	}
	f.last, f.began = v, began
	f.readings++
	lasts := cmp.Or(f.most, foldFor)
	if f.hurry != nil && f.hurry(v) {
		lasts = foldHurry
	}
	if changed || began-f.emitted >= lasts {
		f.flush()
	}
}

func (f *fold[T]) flush() {
	if f.readings == 0 {
		return
	}
	since := f.since
	if f.readings == 1 {
		since = 0 // the record's own time says it
	}
	f.emit(f.last, f.readings, since, clock.Mono()-f.began)
	f.readings, f.emitted = 0, f.began
}
