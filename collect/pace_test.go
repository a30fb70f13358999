package collect

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// paced runs often until it has called back that many times, then ends it.
func paced(t *testing.T, period time.Duration, calls int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	called, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		often(ctx, period, func() {
			select {
			case called <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	late := time.After(60 * time.Second)
	for n := range calls {
		select {
		case <-called:
		case <-late:
			t.Fatalf("called %d times", n)
		}
	}
	cancel()
	select {
	case <-ended:
	case <-late:
		t.Fatal("still there after its context")
	}
}

func TestOften(t *testing.T) {
	began := time.Now()
	const period = 10 * time.Millisecond
	paced(t, period, 20)
	if took := time.Since(began); took < 19*period-time.Millisecond {
		t.Errorf("20 calls within %s", took)
	}
	paced(t, time.Hour, 1) // the wait for the second ends with the context
}

// With no descriptor left the pace is the runtime's.
func TestOftenWithoutDescriptors(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if _, err := openTimer(time.Second); err == nil {
		t.Fatal("a timer without a descriptor")
	}
	paced(t, time.Millisecond, 3)
}
