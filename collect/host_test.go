package collect

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/timeline"
)

// A step of the wall clock is a record, a clock that is slewed is none.
func TestClock(t *testing.T) {
	offsets := []time.Duration{time.Hour, time.Hour + time.Millisecond, time.Hour + 40*time.Millisecond, 2 * time.Hour, 2 * time.Hour, time.Minute}
	left := make(chan time.Duration, len(offsets))
	for _, o := range offsets {
		left <- o
	}
	rec := open(t, t.TempDir())
	read := make(chan struct{})
	c := Clock{Every: time.Millisecond, Offset: func() time.Duration {
		select {
		case o := <-left:
			return o
		default:
			select {
			case <-read:
			default:
				close(read)
			}
			return offsets[len(offsets)-1]
		}
	}}
	if err := rec.Run(t.Context(), func(context.Context) error { <-read; return nil }, c); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		t.Fatal(err)
	}
	got, err := timeline.Load(rec.Prefix() + timeline.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	var steps []time.Duration
	for _, r := range got.Records {
		if r.Clock != nil {
			steps = append(steps, r.Clock.Step)
		}
	}
	if want := []time.Duration{time.Hour - 40*time.Millisecond, time.Minute - 2*time.Hour}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	if h := got.Header(); h.Synchronised == nil || *h.Synchronised != (h.ClockError != nil) {
		t.Errorf("header %+v", h)
	}
}

func TestWallClock(t *testing.T) {
	for _, c := range []struct {
		state  int
		status int32
		ok     bool
	}{{unix.TIME_OK, 0, true}, {unix.TIME_INS, 0, true}, {unix.TIME_ERROR, 0, false}, {unix.TIME_OK, unix.STA_UNSYNC, false}} {
		ok, most := wallClock(c.state, unix.Timex{Status: c.status, Maxerror: 1500})
		if *ok != c.ok || (most != nil) != c.ok || most != nil && *most != 1500*time.Microsecond {
			t.Errorf("state %d, status %d: %t, %v", c.state, c.status, *ok, most)
		}
	}
}
