package collect

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

// counting returns a follower of a namespace, and how many dumps it has made.
func counting(t *testing.T, ns *netns.NS) (f *follower, dumps *int) {
	t.Helper()
	diag, err := sockstate.OpenDiag(ns, flow.NewPorts(5044))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { diag.Close() })
	dumps = new(int)
	return &follower{diag: diag, own: func(socks []sockstate.Socket) []sockstate.Socket {
		*dumps++
		return (&Sockets{}).own(socks)
	}}, dumps
}

func read(t *testing.T, f *follower) []sockstate.Socket {
	t.Helper()
	socks, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	return socks
}

// Of listeners that share an address a look-up finds only one. They are left to
// the dumps, which stay as rare as they are, and show the accept queues afresh.
func TestFollowerOfSharedListeners(t *testing.T) {
	ns, l := inside(t)
	l.Close()
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); cerr != nil {
			return cerr
		}
		return err
	}}
	for range 3 {
		if err := ns.Do(func() (err error) {
			l, err = shared.Listen(t.Context(), "tcp4", "127.0.0.1:5044")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	f, dumps := counting(t, ns)
	f.nextDump = 0
	waiting := func(socks []sockstate.Socket) (queues, connections uint32) {
		listeners := 0
		for _, s := range socks {
			if s.State == sockstate.Listen {
				listeners++
				queues += s.RecvQ
			} else {
				connections++
			}
		}
		if listeners != 3 {
			t.Fatalf("%d listeners among %+v", listeners, socks)
		}
		return queues, connections
	}
	read(t, f)
	for range 100 {
		f.nextDump = never
		if q, n := waiting(read(t, f)); q != 0 || n != 0 {
			t.Fatalf("%d waiting, %d connections", q, n)
		}
	}
	if *dumps != 1 {
		t.Errorf("%d dumps for 101 readings of three listeners", *dumps)
	}
	err := ns.Do(func() error {
		c, err := net.Dial("tcp4", "127.0.0.1:5044")
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // one that nobody took
		f.nextDump = 0
		q, n := waiting(read(t, f))
		return q == 1 && n == 2
	})
	found := *dumps
	for range 100 {
		f.nextDump = never
		if q, n := waiting(read(t, f)); q != 1 || n != 2 {
			t.Fatalf("%d waiting, %d ends of connections, by look-up", q, n)
		}
	}
	if *dumps != found {
		t.Errorf("%d dumps for another 100 readings", *dumps-found)
	}
}

// Connections that end all the time do not make the follower dump all the time,
// and each is gone from the very next reading. What a connection leaves behind
// under the same 4-tuple is found without a dump.
func TestFollowerAmongEnds(t *testing.T) {
	ns, l := inside(t)
	f, dumps := counting(t, ns)
	var clients, servers []net.Conn
	for range 20 {
		c, s := dial(t, ns, l)
		clients, servers = append(clients, c), append(servers, s)
	}
	if n := len(read(t, f)); n != 41 {
		t.Fatalf("%d sockets", n)
	}
	f.nextDump, f.earliest = never, never
	for i, c := range clients[1:] {
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
		servers[i+1].SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := servers[i+1].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%d bytes, %v; want a reset", n, err)
		}
		if n, want := len(read(t, f)), 41-2*(i+1); n != want {
			t.Fatalf("%d sockets after %d ends, want %d", n, i+1, want)
		}
	}
	if *dumps != 1 || f.nextDump != f.earliest {
		t.Errorf("%d dumps for 19 ends; next dump %s, earliest %s", *dumps, f.nextDump, f.earliest)
	}

	servers[0].Close()
	clients[0].SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := clients[0].Read(make([]byte, 1)); err != io.EOF { // else both ends become TIME_WAIT
		t.Fatalf("%d bytes, %v; want the end", n, err)
	}
	clients[0].Close() // the server's end is now TIME_WAIT, with a cookie of its own
	await(t, func() bool {
		f.nextDump = never
		socks := read(t, f)
		return len(socks) == 2 && slices.ContainsFunc(socks, func(s sockstate.Socket) bool { return s.State == sockstate.TimeWait })
	})
	if *dumps != 1 {
		t.Errorf("%d dumps to find TIME_WAIT", *dumps)
	}
	f.nextDump, f.earliest = 0, 0
	if n := len(read(t, f)); n != 2 || *dumps != 2 {
		t.Errorf("%d sockets, %d dumps at the end", n, *dumps)
	}
}

// await polls until a condition holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	if !comes(holds) {
		t.Fatal("waited in vain")
	}
}

// comes polls a condition, and reports whether it came to hold.
func comes(holds func() bool) bool {
	tick, late := time.NewTicker(5*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}

// awaitStamps returns when files are stamped as so much younger that a recording which
// begins now tells them from those that were there. The clock that stamps them stands still
// while the processor that sets it does.
func awaitStamps(t *testing.T) {
	began := time.Now()
	await(t, func() bool {
		var stamp unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &stamp); err != nil {
			t.Fatal(err)
		}
		return time.Unix(stamp.Unix()).Sub(began) >= 3*stampTick
	})
}

// A reading changes nothing of the one before it, and an idle one takes no memory.
func TestFollowerTakesNoMemory(t *testing.T) {
	ns, l := inside(t)
	dial(t, ns, l)
	f, _ := counting(t, ns)
	read(t, f)
	last := read(t, f)
	if n := testing.AllocsPerRun(100, func() {
		f.nextDump = never
		now := read(t, f)
		if len(now) != 3 || &now[0] == &last[0] || !sameSockets(last, now) {
			t.Errorf("read %+v after %+v", now, last)
		}
		for i := range now {
			if now[i].Info != nil && now[i].Info == last[i].Info {
				t.Errorf("%s has the tcp_info of the reading before", now[i].Flow)
			}
		}
		last = now
	}); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}
