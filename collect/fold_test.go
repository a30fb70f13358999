package collect

import (
	"slices"
	"testing"
	"time"

	"halfopen/clock"
)

type emitted struct {
	v        int
	readings int
	folded   bool
}

// Readings that are the same become one record, a change is emitted at once, and
// no reading is lost.
func TestFold(t *testing.T) {
	var got []emitted
	f := fold[int]{same: func(a, b int) bool { return a == b }}
	f.emit = func(v, readings int, since, _ time.Duration) {
		got = append(got, emitted{v, readings, since != 0})
	}
	for _, v := range []int{1, 1, 1, 2, 2, 1} {
		f.add(v, clock.Mono())
	}
	f.flush()
	f.flush() // nothing more
	want := []emitted{{1, 1, false}, {1, 2, true}, {2, 1, false}, {2, 1, false}, {1, 1, false}}
	if len(got) != len(want) {
		t.Fatalf("emitted %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("record %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// What does not change is emitted once a second all the same.
func TestFoldSpeaksRegularly(t *testing.T) {
	var got []emitted
	f := fold[int]{same: func(a, b int) bool { return a == b }}
	f.emit = func(v, readings int, since, _ time.Duration) { got = append(got, emitted{v, readings, since != 0}) }
	now := clock.Mono()
	for i := range 25 { // 2.4 s at 10 Hz, by the readings' own clock
		f.add(7, now+time.Duration(i)*100*time.Millisecond)
	}
	f.flush()
	want := []emitted{{7, 1, false}, {7, 10, true}, {7, 10, true}, {7, 4, true}}
	if !slices.Equal(got, want) {
		t.Errorf("emitted %+v, want %+v", got, want)
	}
}

// What begins to go wrong is emitted sooner, also where it does not change.
func TestFoldHurries(t *testing.T) {
	var got []emitted
	f := fold[int]{same: func(a, b int) bool { return a == b }, hurry: func(v int) bool { return v == 8 }}
	f.emit = func(v, readings int, since, _ time.Duration) { got = append(got, emitted{v, readings, since != 0}) }
	now := clock.Mono()
	for i, v := range []int{7, 7, 8, 8, 8, 8, 8, 7, 7} {
		f.add(v, now+time.Duration(i)*100*time.Millisecond)
	}
	f.flush()
	want := []emitted{{7, 1, false}, {7, 1, false}, {8, 1, false}, {8, 2, true}, {8, 2, true}, {7, 1, false}, {7, 1, false}}
	if !slices.Equal(got, want) {
		t.Errorf("emitted %+v, want %+v", got, want)
	}
}
