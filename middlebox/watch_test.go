package middlebox

import (
	"context"
	"slices"
	"testing"
	"time"

	"halfopen/flow"
)

// watch runs Watch until the test ends, and checks that it then ends well.
func watch(t *testing.T, c *Conntrack, fn func(Event)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	watching, done := make(chan struct{}), make(chan error)
	go func() {
		done <- c.Watch(ctx, func(e Event) {
			if e.Kind == Watching {
				close(watching)
			}
			fn(e)
		})
	}()
	<-watching
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

func TestWatchTellsBeginAndEnd(t *testing.T) {
	ns := newRedirector(t)
	sysctl(t, ns, "net/netfilter/nf_conntrack_timestamp", "1")
	c := openConntrack(t, ns, served)
	events := make(chan Event, 100)
	began := time.Now()
	watch(t, c, func(e Event) { events <- e })

	connect(t, ns, "127.0.0.1", served+1, served+1) // not watched
	client, server := connect(t, ns, "127.0.0.1", dialled, served)
	if err := c.Delete(only(t, c, client)); err != nil {
		t.Fatal(err)
	}
	var kinds []EventKind
	for e := range events {
		kinds = append(kinds, e.Kind)
		if e.Time.Before(began) || e.Time.After(time.Now()) {
			t.Errorf("%s at %s, before %s or in the future", e.Kind, e.Time, began)
		}
		if e.Kind == Watching {
			continue
		}
		if e.Entry.Orig != client || e.Entry.Receiver() != server {
			t.Errorf("%s of %s, want %s", e.Kind, e.Entry.Orig, client)
		}
		if e.Kind == Destroy {
			if e.Entry.Start == nil || e.Entry.Stop == nil || e.Entry.Stop.Before(*e.Entry.Start) {
				t.Errorf("destroyed entry from %v to %v, want both", e.Entry.Start, e.Entry.Stop)
			}
			break
		}
	}
	if len(kinds) < 4 || kinds[0] != Watching || kinds[1] != New || kinds[2] != Update {
		t.Errorf("events %v, want WATCHING, NEW, UPDATE …, DESTROY", kinds)
	}
}

// A watched port may stand in each of the four places of an entry.
func TestWatchSeesEachOfTheFourPorts(t *testing.T) {
	ns := newRedirector(t)
	c := openConntrack(t, ns, served)
	events := make(chan Event, 100)
	watch(t, c, func(e Event) { events <- e })
	insert(t, c, 4)
	seen := map[flow.Flow]bool{}
	await(t, "four events", func() bool {
		if e := <-events; e.Kind == New {
			seen[e.Entry.Orig] = true
		}
		return len(seen) == 4
	})
}

// Events of others are not even queued: as many as would not fit cost nothing.
func TestWatchIsSparedOthers(t *testing.T) {
	ns := newRedirector(t)
	c := openConntrack(t, ns, served)
	held, events := make(chan struct{}), make(chan Event, 100)
	watch(t, c, func(e Event) {
		if e.Kind == Watching {
			<-held // no event is read meanwhile
			return
		}
		events <- e
	})
	insert(t, openConntrack(t, ns), 20000)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		connect(t, ns, ip, served+1, served+1)
	}
	var clients []flow.Flow
	for _, ip := range []string{"127.0.0.1", "::1"} {
		client, _ := connect(t, ns, ip, dialled, served)
		clients = append(clients, client)
	}
	close(held)
	for _, want := range clients {
		await(t, "the first event of "+want.String(), func() bool {
			e := <-events
			if e.Kind == Overrun || !slices.Contains(clients, e.Entry.Orig) {
				t.Fatalf("%+v, want none but of %v", e, clients)
			}
			return e.Kind == New && e.Entry.Orig == want
		})
	}
}

func TestWatchTellsWhatItLost(t *testing.T) {
	ns := newRedirector(t)
	c := openConntrack(t, ns, served, 1) // on which all of the many are
	held, overrun := make(chan struct{}), make(chan struct{})
	after := make(chan flow.Flow, 100)
	lost := false
	watch(t, c, func(e Event) {
		switch {
		case e.Kind == Watching:
			<-held // no event is read meanwhile
		case e.Kind == Overrun:
			if !lost {
				lost = true
				close(overrun)
			}
		case e.Kind == New && lost:
			after <- e.Entry.Orig
		}
	})
	insert(t, c, 20000)
	close(held)
	<-overrun
	client, _ := connect(t, ns, "127.0.0.1", dialled, served)
	await(t, "the event after the gap", func() bool { return <-after == client })
}
