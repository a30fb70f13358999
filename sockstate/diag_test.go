package sockstate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func openDiag(t testing.TB, ns *netns.NS, ports ...uint16) *Diag {
	t.Helper()
	d, err := OpenDiag(ns, flow.NewPorts(ports...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func dump(t testing.TB, d *Diag) []Socket {
	t.Helper()
	socks, err := d.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return socks
}

// one returns the socket of the given state with the given remote port.
func one(t testing.TB, d *Diag, state State, remote uint16) (s Socket) {
	t.Helper()
	await(t, func() error {
		for _, s = range dump(t, d) {
			if s.State == state && s.Remote.Port() == remote {
				return nil
			}
		}
		return fmt.Errorf("no socket in %s to port %d", state, remote)
	})
	return s
}

// The kernel's filter selects what Ports.Match does, whatever the set.
func TestDumpFiltersInTheKernel(t *testing.T) {
	ns := private(t)
	var ports []uint16
	for range 12 {
		l := listen(t, ns, netip.AddrPortFrom(loopback, 0))
		p := l.port(t)
		connect(t, ns, netip.AddrPortFrom(loopback, p))
		ports = append(ports, p, p+1, p-1)
	}
	ports = append(ports, 1, 65535)
	everyPort := make([]uint16, 1<<16-1)
	for i := range everyPort {
		everyPort[i] = uint16(i + 1)
	}
	all, bad, err := ReadProc(ns.ProcRoot(), everyPort)
	if err != nil || len(bad) > 0 || len(all) != 36 {
		t.Fatal(len(all), bad, err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range len(ports) + 1 {
		random.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
		set := flow.NewPorts(ports[:n]...)
		want := make(map[flow.Flow]bool)
		for _, s := range all {
			if set.Match(s.Flow) {
				want[s.Flow] = true
			}
		}
		got := make(map[flow.Flow]bool)
		for _, s := range dump(t, openDiag(t, ns, set...)) {
			got[s.Flow] = true
		}
		if diff := cmp.Diff(want, got, sameAddr); diff != "" {
			t.Errorf("ports %v, -want +got:\n%s", set, diff)
		}
	}
}

func TestFilterTakesAsManyPortsAsItSays(t *testing.T) {
	ns := private(t)
	var most int
	ports := make(flow.Ports, 5000)
	for i := range ports {
		ports[i] = uint16(i + 1)
	}
	_, err := OpenDiag(ns, ports)
	if err == nil {
		t.Fatal("5000 ports were accepted")
	}
	if _, serr := fmt.Sscanf(err.Error(), "filter sockets by port: 5000 ports are too many, at most %d", &most); serr != nil {
		t.Fatal(err)
	}
	listen(t, ns, netip.AddrPortFrom(loopback, uint16(most)))
	d := openDiag(t, ns, ports[:most]...)
	if socks := dump(t, d); len(socks) != 1 {
		t.Errorf("%d sockets", len(socks))
	}
	if _, err := OpenDiag(ns, ports[:most+1]); err == nil {
		t.Errorf("%d ports were accepted", most+1)
	}
}

// A kernel with a shorter tcp_info: what it does not reach is absent.
func TestInfoOfAnyLength(t *testing.T) {
	b := slices.Repeat([]byte{1}, int(unsafe.Sizeof(unix.TCPInfo{})))
	var whole Info
	decodeInfo(b, &whole)
	reaches := []struct {
		n  int
		ok func(i Info) bool
	}{
		{0, func(i Info) bool { return i.Ssthresh.OK }},
		{120, func(i Info) bool { return i.BytesAcked.OK }},
		{136, func(i Info) bool { return i.SegsOut.OK }},
		{148, func(i Info) bool { return i.MinRTT.OK }},
		{168, func(i Info) bool { return i.Busy.OK }},
		{200, func(i Info) bool { return i.BytesSent.OK }},
		{228, func(i Info) bool { return i.SndWnd.OK }},
		{232, func(i Info) bool { return i.RcvWnd.OK }},
	}
	for n := range b {
		var i Info
		decodeInfo(b[:n], &i)
		for _, r := range reaches[1:] {
			if r.ok(i) && n <= r.n {
				t.Fatalf("%d bytes: a field at %d is present: %+v", n, r.n, i)
			}
		}
		if n >= 240 && i != whole {
			t.Fatalf("%d bytes: %+v, want %+v", n, i, whole)
		}
	}
	for _, r := range reaches {
		if !r.ok(whole) {
			t.Errorf("the field at %d is absent in a whole tcp_info", r.n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	ns := private(f)
	l := listen(f, ns, netip.AddrPortFrom(netip.IPv6Unspecified(), testPort))
	for _, to := range []netip.Addr{loopback, netip.IPv6Loopback()} {
		connect(f, ns, netip.AddrPortFrom(to, testPort))
		l.accept(f)
	}
	d := openDiag(f, ns, testPort)
	socks := dump(f, d)
	if len(socks) != 5 {
		f.Fatalf("%d sockets to start from", len(socks))
	}
	for i := range socks {
		if err := d.Lookup(&socks[i]); err != nil {
			f.Fatal(err)
		}
		f.Add(slices.Clone(d.reply[:d.n]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []Socket{{}, {Info: &Info{Congestion: "bbr"}}} {
			if data, err := answer(b, 1); err == nil {
				decode(data, &s)
			}
			if err := decode(b, &s); err == nil && !s.Local.Addr().IsValid() {
				t.Fatalf("a socket without address: %+v", s)
			}
		}
	})
}
