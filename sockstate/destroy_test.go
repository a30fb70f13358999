package sockstate

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"halfopen/flow"
)

func TestDestroy(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ns := private(t)
			l := listen(t, ns, netip.AddrPortFrom(k.listen, testPort))
			client := connect(t, ns, netip.AddrPortFrom(k.target, testPort))
			server := l.accept(t)
			bystander := connect(t, ns, netip.AddrPortFrom(k.target, testPort))
			l.accept(t)
			d := openDiag(t, ns, testPort)
			var s Socket
			for _, s = range dump(t, d) {
				if s.Local.Port() == client.port(t) {
					break
				}
			}

			other := s
			other.Cookie++
			if err := Destroy(ns, other); !errors.Is(err, ErrGone) {
				t.Errorf("with another socket's cookie: %v", err)
			}
			other.Cookie = 0
			if err := Destroy(ns, other); err == nil || !strings.Contains(err.Error(), "cookie") {
				t.Errorf("without cookie: %v", err)
			}
			if err := d.Lookup(&s); err != nil {
				t.Fatalf("the socket is gone too early: %v", err)
			}

			read := make(chan error)
			go func() {
				_, err := unix.Read(int(client), make([]byte, 1))
				read <- err
			}()
			if err := Destroy(ns, s); err != nil {
				t.Fatal(err)
			}
			if err := <-read; !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("the owner's read: %v", err)
			}
			if _, err := unix.Write(int(client), []byte("x")); !errors.Is(err, unix.EPIPE) {
				t.Errorf("the owner's write: %v", err)
			}
			if _, err := unix.Read(int(server), make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the peer's read: %v", err)
			}
			if err := Destroy(ns, s); !errors.Is(err, ErrGone) {
				t.Errorf("a second time: %v", err)
			}
			bystander.write(t, "still connected")
		})
	}
}

// withoutRights runs fn as an ordinary user, on a thread that is not used again.
func withoutRights(t *testing.T, fn func()) {
	t.Helper()
	const nobody = 65534
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// The bare system call changes this thread alone, and takes its
		// capabilities (capabilities(7)).
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if errno != 0 {
			done <- errno
			return
		}
		fn()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// An ordinary user may look, not destroy.
func TestDestroyNamesTheMissingRight(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // in the program's own namespace: entering it takes no right
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	var looked, watched, destroyed error
	withoutRights(t, func() {
		d, err := OpenDiag(nil, flow.NewPorts(port))
		if err != nil {
			looked = err
			return
		}
		defer d.Close()
		socks, err := d.Dump()
		i := slices.IndexFunc(socks, func(s Socket) bool { return s.State == Listen }) // the port's number may be another connection's, too
		if err != nil || i < 0 {
			looked = fmt.Errorf("%d sockets: %w", len(socks), err)
			return
		}
		looked = d.Lookup(&socks[i])
		destroyed = Destroy(nil, socks[i])
		w, err := OpenWatch(nil, flow.NewPorts(port))
		if watched = err; err == nil {
			w.Close()
		}
	})
	if looked != nil || watched != nil {
		t.Errorf("without rights: dump and look-up %v, watch %v", looked, watched)
	}
	if !errors.Is(destroyed, fs.ErrPermission) || !strings.Contains(destroyed.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without rights: destroy %v", destroyed)
	}
}
