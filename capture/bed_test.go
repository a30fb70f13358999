package capture_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"halfopen/capture"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/netns"
)

const port = 5044

var ports = flow.NewPorts(port)

// pair is a connection through the lab's router.
type pair struct {
	bed            *lab.Bed
	listener       net.Listener
	client, server net.Conn
}

func newBed(t testing.TB) *lab.Bed {
	t.Helper()
	bed, err := lab.NewBed()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bed.Close)
	return bed
}

func listen(t testing.TB, ns *netns.NS, addr string) (l net.Listener) {
	t.Helper()
	err := ns.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func connect(t testing.TB, ns *netns.NS, l net.Listener, to string) (client, server net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) { client, err = net.DialTimeout("tcp", to, 60*time.Second); return err })
	if err == nil {
		server, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func newPair(t testing.TB, bed *lab.Bed) *pair {
	t.Helper()
	p := &pair{bed: bed, listener: listen(t, bed.Receiver, ":5044")}
	p.client, p.server = connect(t, bed.Shipper, p.listener, netip.AddrPortFrom(lab.ReceiverAddr, port).String())
	return p
}

// tell sends bytes one way and waits until they are read.
func tell(t testing.TB, from, to net.Conn, text []byte) {
	t.Helper()
	go from.Write(text)
	to.SetReadDeadline(time.Now().Add(60 * time.Second))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("what was sent did not arrive: %v", err)
	}
}

// watch is a capture at a place of the bed.
type watch struct {
	t       testing.TB
	place   string
	sock    *capture.Socket
	seen    capture.Observer
	ring    *capture.Ring
	packets []capture.Packet
	last    map[string]capture.Connection // by interface and connection
	signs   []capture.Sign
}

func newWatch(t testing.TB, place string, ns *netns.NS, ring *capture.Ring) *watch {
	t.Helper()
	sock, err := capture.Open(ns, ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	return &watch{t: t, place: place, sock: sock, seen: capture.Observer{Ports: ports}, ring: ring, last: map[string]capture.Connection{}}
}

// until reads packets until what was seen will do.
func (w *watch) until(what string, enough func() bool) {
	w.t.Helper()
	for limit := time.Now().Add(60 * time.Second); ; {
		p, err := w.sock.Read(time.Now().Add(20 * time.Millisecond))
		switch {
		case err == nil:
			w.take(p)
		case !errors.Is(err, capture.ErrNone):
			w.t.Fatal(err)
		}
		for _, c := range w.seen.Due(p.Mono, true) {
			w.last[c.Interface+" "+c.Flow.String()] = c
			w.signs = append(w.signs, c.Signs...)
		}
		if errors.Is(err, capture.ErrNone) && enough() {
			return
		}
		if time.Now().After(limit) {
			w.t.Fatalf("%s: %s was not seen; of %d packets, %+v", w.place, what, len(w.packets), w.last)
		}
	}
}

func (w *watch) take(p capture.Packet) {
	w.seen.Add(p)
	if w.ring != nil {
		if err := w.ring.Write(w.place, p); err != nil {
			w.t.Fatal(err)
		}
	}
	p.Raw = bytes.Clone(p.Raw)
	w.packets = append(w.packets, p)
}

// at is the only connection at an interface.
func (w *watch) at(name string) (c capture.Connection, ok bool) {
	for key, c := range w.last {
		if strings.HasPrefix(key, name+" ") {
			return c, true
		}
	}
	return c, false
}

// sign is the first with such flags.
func (w *watch) sign(flag string) *capture.Sign {
	for i, s := range w.signs {
		if strings.Contains(s.Flags, flag) {
			return &w.signs[i]
		}
	}
	return nil
}

// ringIn keeps files in a folder of the test's.
func ringIn(dir string, size int64, keep int) *capture.Ring {
	return &capture.Ring{Name: func(n int) string { return filepath.Join(dir, strconv.Itoa(n)+".pcapng") }, Size: size, Keep: keep, Tool: "halfopen test"}
}

// tshark reads the fields of every packet of a file.
func tshark(t testing.TB, file string, fields ...string) (rows [][]string) {
	t.Helper()
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=|", "-o", "tcp.relative_sequence_numbers:TRUE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &stderr)
	}
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
