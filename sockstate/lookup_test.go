package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLookup(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ns := private(t)
			l := listen(t, ns, netip.AddrPortFrom(k.listen, testPort))
			client := connect(t, ns, netip.AddrPortFrom(k.target, testPort))
			server := l.accept(t)
			d := openDiag(t, ns, testPort)
			s := one(t, d, Established, testPort)
			info, before := s.Info, *s.Info

			client.write(t, "hello")
			await(t, func() error {
				if err := d.Lookup(&s); err != nil {
					t.Fatal(err)
				}
				if s.Info.BytesAcked != Some(before.BytesAcked.V+5) {
					return fmt.Errorf("5 bytes written, acked before %v, after %v", before.BytesAcked, s.Info.BytesAcked)
				}
				return nil
			})
			if s.Info != info || s.Info.Congestion != before.Congestion || before.Congestion == "" || !s.Info.Mem.OK {
				t.Errorf("tcp_info was not read anew in place: %+v, before %+v", *s.Info, before)
			}
			if s.State != Established || s.Inode == 0 || s.Info.SndWnd.V == 0 || s.Info.LastDataSent > 10*time.Second {
				t.Errorf("looked up %+v %+v", s, *s.Info)
			}
			theirs := s
			theirs.Flow, theirs.Cookie, theirs.Info = s.Flow.Reverse(), 0, nil
			if err := d.Lookup(&theirs); err != nil || theirs.RecvQ != 5 || theirs.Cookie == 0 || theirs.Cookie == s.Cookie {
				t.Errorf("the other end without its cookie: %+v, %v", theirs, err)
			}
			if listener := one(t, d, Listen, 0); d.Lookup(&listener) != nil || listener.Info != nil || listener.State != Listen {
				t.Errorf("listener: %+v", listener)
			}

			server.close(t) // unread data: a RST, the client's socket is CLOSE
			await(t, func() error {
				for _, gone := range []Socket{s, theirs} {
					kept := gone
					if err := d.Lookup(&gone); !errors.Is(err, ErrGone) || gone != kept {
						return fmt.Errorf("after its end: %+v, %v", gone, err)
					}
					gone.Cookie = 0
					if err := d.Lookup(&gone); !errors.Is(err, ErrGone) {
						return fmt.Errorf("after its end, without cookie: %+v, %v", gone, err)
					}
				}
				return nil
			})
		})
	}
}

// Many sockets at once, more than fit into one exchange, are read as one by one,
// each with its own error.
func TestLookupAll(t *testing.T) {
	ns := private(t)
	d := openDiag(t, ns, testPort)
	for _, k := range kinds {
		l := listen(t, ns, netip.AddrPortFrom(k.listen, testPort))
		for range lookupBatch {
			connect(t, ns, netip.AddrPortFrom(k.target, testPort)).write(t, "hello")
			l.accept(t)
		}
		l.close(t)
	}
	var socks []Socket
	await(t, func() error { // the last ACK
		socks = dump(t, d)
		for _, s := range socks {
			if s.State != Established || s.Info.Unacked > 0 {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	if len(socks) != 2*len(kinds)*lookupBatch {
		t.Fatalf("%d sockets", len(socks))
	}
	for n := range lookupBatch + 2 {
		some := slices.Clone(socks[len(socks)-n:])
		errs := make([]error, n)
		d.LookupAll(some, errs)
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%d at once: %v", n, err)
		}
	}
	for i := range socks {
		switch i % 5 {
		case 1:
			socks[i].Cookie++
		case 2:
			socks[i].Cookie = 0
		case 3:
			socks[i].Info = nil
		}
	}
	errs := make([]error, len(socks))
	got := slices.Clone(socks)
	for i := range got {
		got[i].Inode, got[i].RecvQ = 0, 77
	}
	d.LookupAll(got, errs)
	for i := range socks {
		want := socks[i]
		want.Inode, want.RecvQ = 0, 77
		if err := d.Lookup(&want); errs[i] != err || !got[i].Steady(want) || got[i].Cookie != want.Cookie || got[i].Inode != want.Inode {
			t.Errorf("%s: %+v, %v; alone %+v, %v", socks[i].Flow, got[i], errs[i], want, err)
		}
		if gone := i%5 == 1; errors.Is(errs[i], ErrGone) != gone || (got[i].RecvQ == 77) != gone {
			t.Errorf("%s, socket %d: %+v, %v", socks[i].Flow, i, got[i], errs[i])
		}
	}
}

// A 4-tuple that is used again is another connection.
func TestLookupTellsAReusedFlow(t *testing.T) {
	ns := private(t)
	l := listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	from := &unix.SockaddrInet4{Port: 33342, Addr: loopback.As4()}
	dialFrom := func() end {
		e := open(t, ns, unix.AF_INET, 0)
		_, to := sockaddr(netip.AddrPortFrom(loopback, testPort))
		if err := errors.Join(
			unix.SetsockoptInt(int(e), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptLinger(int(e), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), // close sends RST: no TIME_WAIT
			unix.Bind(int(e), from), unix.Connect(int(e), to)); err != nil {
			t.Fatal(err)
		}
		l.accept(t)
		return e
	}
	first := dialFrom()
	old := one(t, d, Established, testPort)
	first.close(t)
	dialFrom()
	s := one(t, d, Established, testPort)
	if s.Flow != old.Flow || s.Cookie == old.Cookie {
		t.Fatalf("first %s cookie %d, then %s cookie %d", old.Flow, old.Cookie, s.Flow, s.Cookie)
	}
	if err := d.Lookup(&old); !errors.Is(err, ErrGone) {
		t.Errorf("the first connection: %v", err)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	s := one(t, d, Established, testPort)
	gone := s
	gone.Cookie++
	for name, sock := range map[string]*Socket{"found": &s, "gone": &gone} {
		if n := testing.AllocsPerRun(100, func() { d.Lookup(sock) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	both, errs := []Socket{s, gone}, make([]error, 2)
	if n := testing.AllocsPerRun(100, func() { d.LookupAll(both, errs) }); n != 0 {
		t.Errorf("two at once: %v allocations", n)
	}
}

// Nothing makes a look-up wait: where its answer is lost, it says so at once, and
// the next one is answered.
func TestLookupDoesNotWait(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	s := one(t, d, Established, testPort)
	if err := unix.SetsockoptInt(d.lookup.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the kernel makes it its minimum
		t.Fatal(err)
	}
	for range 20 { // answers that nobody reads
		if err := d.lookup.send([]Socket{s}); err != nil {
			t.Fatal(err)
		}
	}
	lost := make(chan error, 1)
	go func() { lost <- d.Lookup(&s) }()
	select {
	case err := <-lost:
		if !errors.Is(err, errSilent) {
			t.Errorf("a look-up without answer: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the look-up waits")
	}
	if err := d.Lookup(&s); err != nil {
		t.Errorf("the next look-up: %v", err)
	}
	many, errs := slices.Repeat([]Socket{s}, lookupBatch), make([]error, lookupBatch)
	d.lookup.batch(many, errs) // of so many answers there is no room for the last
	if errs[0] != nil || !errors.Is(errs[lookupBatch-1], errSilent) {
		t.Errorf("more answers than room: %v", errs)
	}
	d.LookupAll(many, errs)
	if err := errors.Join(errs...); err != nil {
		t.Errorf("more answers than room, asked for again: %v", err)
	}
}
