package main

import (
	"bufio"
	bytewise "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// silence gives a namespace peers 10.53.x.y that send and never answer.
func silence(t *testing.T, ns *netns.NS) {
	t.Helper()
	err := ns.Do(func() error {
		for _, s := range []string{"ipv4/conf/all/rp_filter=0", "ipv4/conf/lo/rp_filter=0", "ipv4/tcp_syncookies=1"} {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"})
	})
	if err != nil {
		t.Fatal(err)
	}
	up(t, ns, "near", "10.53.0.1/16")
	up(t, ns, "far", "")
}

// syns sends SYNs to 10.53.0.1, each from a peer of its own, from the first on.
func syns(t *testing.T, ns *netns.NS, port uint16, first, n int) {
	t.Helper()
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrInet4{Addr: [4]byte{10, 53, 0, 1}}
		for i := first; i < first+n; i++ {
			if err := unix.Sendto(fd, syn([4]byte{10, 53, 1, byte(i)}, to.Addr, port), 0, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// syn is a TCP segment (RFC 9293) in an IPv4 packet (RFC 791), whose own length
// and sum the kernel fills in.
func syn(from, to [4]byte, port uint16) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	tcp := p[20:]
	bytewise.BigEndian.PutUint16(tcp[0:], 40000)
	bytewise.BigEndian.PutUint16(tcp[2:], port)
	tcp[12], tcp[13] = 5<<4, 1<<1 // header of 5 words, SYN
	bytewise.BigEndian.PutUint16(tcp[14:], 65535)
	sum := uint32(unix.IPPROTO_TCP + len(tcp))
	for i := 12; i < len(p); i += 2 { // the addresses are in the pseudo header
		sum += uint32(bytewise.BigEndian.Uint16(p[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xFFFF
	}
	bytewise.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return p
}

// A flood of SYNs, and a full accept queue: each counter grows by exactly what
// was sent. Ctrl-C brings the second look forward.
func TestSnapshotOfFlood(t *testing.T) {
	t.Parallel()
	ns, path := crowded(t)
	silence(t, ns)
	const backlog = 8
	if err := ns.Do(func() error { return listen(t, 24225, backlog) }); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "snapshot", "--evidence", t.TempDir(), "--port", "24224", "--port", "24225", "--netns", path, "--over", "1h", "--timeout", "1m")
	var out strings.Builder
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.Contains(line, "looked once") {
		t.Fatalf("%q, %v", line, err)
	}
	syns(t, ns, 24224, 0, 4)  // nobody takes connections there
	syns(t, ns, 24225, 0, 23) // some fill the queue, which forgets them after 7 s, the others get a cookie
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	half := backlog
	if strings.Contains(out.String(), fmt.Sprintf("SYN_RECV %20d", backlog+1)) {
		half++ // some kernels, 6.18 among them, let one more in, as into the accept queue
	}
	cookies := 23 - half
	for _, want := range []string{
		`listener 0\.0\.0\.0:24224: 3 of 2 wait to be accepted, FULL`,
		`listener 0\.0\.0\.0:24225: 0 of 8 wait to be accepted\n`,
		fmt.Sprintf(`SYN_RECV +%d  \+%[1]d in`, half),
		`ListenOverflows +4  \+4 in`, `ListenDrops +4  \+4 in`,
		fmt.Sprintf(`TCPReqQFullDoCookies +%d  \+%[1]d in`, cookies), fmt.Sprintf(`SyncookiesSent +%d  \+%[1]d in`, cookies),
		`RetransSegs +\d`, `tcp_max_syn_backlog +\d`, `somaxconn +\d`, `tcp_syncookies +1\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s is missing", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
