package collect

import (
	"testing"
	"time"
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
		f.add(v, monotonic())
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
	now := monotonic()
	for i := range 25 { // 2.4 s at 10 Hz, by the readings' own clock
		f.add(7, now+time.Duration(i)*100*time.Millisecond)
	}
	total := 0
	for _, e := range got {
		total += e.readings
	}
	if len(got) < 3 || total > 25 {
		t.Errorf("emitted %+v for 25 readings", got)
	}
}
