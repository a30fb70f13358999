package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
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
			if s.State != Established || s.Inode == 0 || s.Info.SndWnd.V == 0 || s.Info.LastDataSent > time.Minute {
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
}

// Nothing makes a look-up wait: where its answer is lost, it says so at once, and
// the next one is answered.
func TestLookupDoesNotWait(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	s := one(t, d, Established, testPort)
	if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the kernel makes it its minimum
		t.Fatal(err)
	}
	for range 20 { // answers that nobody reads
		d.putLookup(&s)
		if _, err := unix.Write(d.fd, d.request[:]); err != nil {
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
	case <-time.After(60 * time.Second):
		t.Fatal("the look-up waits")
	}
	if err := d.Lookup(&s); err != nil {
		t.Errorf("the next look-up: %v", err)
	}
}
