package fault

import (
	"io"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// The receiver reads, and its packets are told to say that it has no room: data
// waits, probes are answered, and it arrives once that is over. The kernel rejects
// none of them for its checksum, whether the sender's kernel has made it or not.
func TestZeroWindow(t *testing.T) {
	for _, at := range []string{"forwarded", "sent", "received"} {
		t.Run(at, func(t *testing.T) {
			p := newPath(t)
			cfg := Config{NS: p.router, Method: ZeroWindow, Ports: ports}
			switch at {
			case "forwarded":
				p.must(p.server.Do(func() error { return makeChecksums("eth0") }))
			case "sent":
				cfg.NS, cfg.Hook = p.server, HookOutput
			case "received":
				cfg.NS, cfg.Hook = p.client, HookLocal
			}
			c := p.dial()
			f := p.open(cfg)
			cut(t, f)
			wrong := p.tcpCount(p.client, "InCsumErrors")
			sent := 0
			await(t, "two probes", func() bool { // each doubles the time to the next
				i := info(t, c.client)
				if i.Notsent_bytes == 0 {
					n, _ := c.client.Write(make([]byte, clientBytes))
					sent += n
				}
				return i.Backoff >= 2 && i.Probes == 0
			})
			i := info(t, c.client)
			if i.Snd_wnd != 0 || i.Unacked != 0 {
				t.Errorf("window %d, %d segments on the way", i.Snd_wnd, i.Unacked)
			}
			p.dial() // a handshake passes
			if f, err := f.Hold([]flow.Flow{c.flow()}); err != nil {
				t.Fatal(f, err)
			}
			p.dial().echo()
			if n := info(t, c.client).Notsent_bytes; n == 0 {
				t.Error("nothing waits any more on the connection of before")
			}
			if met(t, f, StepWindow, From) < 2 || met(t, f, StepWindow, Toward)+met(t, f, StepHold, Toward) != 0 {
				t.Errorf("counters %+v", counted(t, f))
			}
			p.must(f.Undo())
			c.server.SetReadDeadline(time.Now().Add(60 * time.Second)) // the next probe
			if n, err := io.ReadFull(c.server, make([]byte, sent)); err != nil {
				t.Errorf("after undo: %d of %d bytes, %v", n, sent, err)
			}
			if got := p.tcpCount(p.client, "InCsumErrors"); got != wrong {
				t.Errorf("%d packets had a wrong checksum", got-wrong)
			}
		})
	}
}

// makeChecksums has the kernel make the checksums of what an interface sends, not the
// other end.
func makeChecksums(name string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	off := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM} // struct ethtool_value, linux/ethtool.h
	request := struct {                                          // struct ifreq, linux/if.h
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&off)}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}
