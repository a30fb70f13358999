package capture_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"halfopen/capture"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/sockstate"
)

// starved is how much a kernel that waits for its processor may send again for nothing: a
// probe of the tail (RFC 8985), a FIN.
const starved = 3

const secret = "nobody may read this: "

// A conversation captured in three namespaces is in one file: every packet with its
// headers and not a byte of what it carried, for tshark as for us.
func TestOneFileOfSeveralPlaces(t *testing.T) {
	t.Parallel()
	bed, dir := newBed(t), t.TempDir()
	ring := ringIn(dir, 0, 0)
	near, mid, far := newWatch(t, "shipper", bed.Shipper, ring), newWatch(t, "router", bed.Router, ring), newWatch(t, "receiver", bed.Receiver, ring)
	p := newPair(t, bed)
	text := bytes.Repeat([]byte(secret), 20_000)
	tell(t, p.client, p.server, text)
	tell(t, p.server, p.client, []byte(secret))
	p.client.Close()
	p.server.Close()
	ended := func(w *watch, name string) func() bool {
		return func() bool { c, _ := w.at(name); return ends(c) }
	}
	near.until("the end", ended(near, "eth0"))
	mid.until("the end", func() bool { return ended(mid, "in")() && ended(mid, "out")() })
	far.until("the end", ended(far, "eth0"))
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}

	for _, w := range []*watch{near, mid, far} {
		for _, name := range map[string][]string{"shipper": {"eth0"}, "router": {"in", "out"}, "receiver": {"eth0"}}[w.place] {
			c, _ := w.at(name)
			if c.Toward.Next == nil || *c.Toward.Next != int64(len(text))+2 || *c.Toward.Acked != *c.Toward.Next || *c.From.Next != int64(len(secret))+2 ||
				c.Toward.Retransmits+c.From.Retransmits > starved || c.Toward.RTT == nil || c.From.RTT == nil {
				t.Errorf("%s, %s: toward %+v, from %+v", w.place, name, c.Toward, c.From)
			}
			hops := map[string][2]uint8{"shipper eth0": {64, 63}, "router in": {64, 63}, "router out": {63, 64}, "receiver eth0": {63, 64}}[w.place+" "+name]
			if *c.Toward.TTLMin != hops[0] || *c.Toward.TTLMax != hops[0] || *c.From.TTLMin != hops[1] || *c.From.TTLMax != hops[1] {
				t.Errorf("%s, %s: TTLs toward %d to %d, from %d to %d, want %v", w.place, name, *c.Toward.TTLMin, *c.Toward.TTLMax, *c.From.TTLMin, *c.From.TTLMax, hops)
			}
		}
	}

	file := filepath.Join(dir, "1.pcapng")
	rows := tshark(t, file, "frame.interface_name", "frame.cap_len", "ip.hdr_len", "tcp.hdr_len", "frame.time_epoch", "ip.len", "frame.len")
	if got := len(near.packets) + len(mid.packets) + len(far.packets); len(rows) != got || len(rows) < 20 {
		t.Errorf("tshark reads %d packets of %d", len(rows), got)
	}
	count := map[string]int{}
	for i, r := range rows {
		count[r[0]]++
		if payload := number(t, r[1]) - 14 - number(t, r[2]) - number(t, r[3]); payload != 0 {
			t.Errorf("packet %d of %s has %d bytes behind its headers", i+1, r[0], payload)
		}
		if number(t, r[6]) != number(t, r[5])+14 {
			t.Errorf("packet %d: %s bytes on the wire, %s by its IP header", i+1, r[6], r[5])
		}
	}
	for _, name := range []string{"shipper:eth0", "router:in", "router:out", "receiver:eth0"} {
		if count[name] == 0 {
			t.Errorf("no packet of %s among %v", name, count)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil || bytes.Contains(raw, []byte(secret[:8])) {
		t.Errorf("the file holds payload, or %v", err)
	}
	if p := near.packets[0]; time.Since(p.Time) > time.Hour || p.Time.Nanosecond()%1000 == 0 && near.packets[1].Time.Nanosecond()%1000 == 0 {
		t.Errorf("times are not of nanoseconds: %s", p.Time.Format(time.RFC3339Nano))
	}
}

// ends reports whether both sides have sent FIN and all of it is acknowledged.
func ends(c capture.Connection) bool {
	return c.Toward.Acked != nil && c.From.Acked != nil && c.Toward.Next != nil && c.From.Next != nil &&
		*c.Toward.Acked == *c.Toward.Next && *c.From.Acked == *c.From.Next && *c.Toward.Next > 1 && *c.From.Next > 1
}

// What a shipper sends into a cut path is counted as its kernel counts it, and not
// a packet of it arrives.
func TestRetransmissions(t *testing.T) {
	t.Parallel()
	bed := newBed(t)
	near, far := newWatch(t, "shipper", bed.Shipper, nil), newWatch(t, "receiver", bed.Receiver, nil)
	p := newPair(t, bed)
	tell(t, p.client, p.server, []byte("before"))
	far.until("the beginning", func() bool { c, _ := far.at("eth0"); return c.Toward.Next != nil && *c.Toward.Next == 7 })
	arrived, _ := far.at("eth0")
	cut, err := fault.Open(fault.Config{NS: bed.Router, Method: fault.Link, Hook: fault.HookForward, Ways: fault.Both, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	if _, err := cut.Cut(); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 100_000) // several segments, which leave as one
	go p.client.Write(big)
	diag, err := sockstate.OpenDiag(bed.Shipper, ports)
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	kernel := func() (n uint64) {
		socks, err := diag.Dump()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range socks {
			if s.Info != nil && s.Remote.Port() == port {
				n = uint64(s.Info.TotalRetrans)
			}
		}
		return n
	}
	counted := func() uint64 { c, _ := near.at("eth0"); return c.Toward.Retransmits }
	near.until("three retransmissions, as the kernel counts them", func() bool { return counted() >= 3 && counted() == kernel() })
	far.until("nothing", func() bool { return true })
	if c, _ := far.at("eth0"); c.Toward.Packets != arrived.Toward.Packets {
		t.Errorf("%d packets arrived over a path that is cut", c.Toward.Packets-arrived.Toward.Packets)
	}

	// The path is open again: what was lost fills holes at the receiver, or is new.
	cut.Close()
	p.server.SetReadDeadline(time.Now().Add(60 * time.Second))
	if n, err := p.server.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	near.until("an acknowledgement", func() bool { c, _ := near.at("eth0"); return *c.Toward.Acked > 7 })
	far.until("the rest", func() bool { c, _ := far.at("eth0"); return *c.Toward.Next > 7 })
	near.until("what was sent meanwhile", func() bool { return true })
	if c, _ := far.at("eth0"); c.Toward.Retransmits+3 > counted() { // three of them were lost, too
		t.Errorf("the receiver saw %d segments twice, of %d", c.Toward.Retransmits, counted())
	}
}

// A reset that the router makes is seen in its TTL, one that the receiver's host
// makes is not; the router's never left the receiver.
func TestResetOfAThirdParty(t *testing.T) {
	t.Parallel()
	for _, box := range []bool{true, false} {
		t.Run(fmt.Sprintf("by a box %t", box), func(t *testing.T) {
			bed := newBed(t)
			near, far := newWatch(t, "shipper", bed.Shipper, nil), newWatch(t, "receiver", bed.Receiver, nil)
			p := newPair(t, bed)
			tell(t, p.client, p.server, []byte("hello"))
			tell(t, p.server, p.client, []byte("hello"))
			if box {
				cut, err := fault.Open(fault.Config{NS: bed.Router, Method: fault.Reset, Hook: fault.HookForward, Ways: fault.Both, Ports: ports})
				if err != nil {
					t.Fatal(err)
				}
				defer cut.Close()
				if _, err := cut.Cut(); err != nil {
					t.Fatal(err)
				}
				p.client.Write([]byte("again"))
			} else {
				p.server.(*net.TCPConn).SetLinger(0)
				p.server.Close()
			}
			near.until("a reset", func() bool { return near.sign("RST") != nil })
			far.until("quiet", func() bool { return box || far.sign("RST") != nil })
			s, c := near.sign("RST"), near.last
			plain, _ := near.at("eth0")
			if s.Direction != capture.From || s.Way != capture.In || s.Seq == nil || *s.Seq != 6 || *s.Expected != 6 {
				t.Errorf("reset %+v of %+v", *s, c)
			}
			if (s.TTL == *plain.From.TTLMin) == box {
				t.Errorf("TTL %d, the receiver's %d", s.TTL, *plain.From.TTLMin)
			}
			if sent := far.sign("RST"); (sent == nil) != box || sent != nil && sent.Way != capture.Out {
				t.Errorf("at the receiver %+v", sent)
			}
		})
	}
}

// Loopback shows each packet twice; it is counted once. IPv6 passes the filter.
func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:5044", "[::1]:5044"} {
		t.Run(addr, func(t *testing.T) {
			bed := newBed(t)
			w := newWatch(t, "host", bed.Shipper, nil)
			l := listen(t, bed.Shipper, addr)
			client, server := connect(t, bed.Shipper, l, addr)
			tell(t, client, server, []byte("hello"))
			client.Close()
			server.Close()
			w.until("the end", func() bool { c, _ := w.at("lo"); return ends(c) })
			c, _ := w.at("lo")
			if c.Toward.Retransmits+c.From.Retransmits > starved || *c.Toward.Next != 7 || w.signs[0].Way != "" || (w.signs[0].ID == nil) != (addr[0] == '[') {
				t.Errorf("%+v, %+v", c, w.signs)
			}
			if len(w.last) != 1 {
				t.Errorf("%d connections", len(w.last))
			}
		})
	}
}

// Of other ports nothing is captured, however many are watched.
func TestPorts(t *testing.T) {
	t.Parallel()
	bed := newBed(t)
	var many []uint16
	for p := range uint16(499) {
		many = append(many, 10_000+p)
	}
	sock, err := capture.Open(bed.Shipper, flow.NewPorts(append(many, 6000)...))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	for _, addr := range []string{"127.0.0.1:5044", "127.0.0.1:6000"} {
		connect(t, bed.Shipper, listen(t, bed.Shipper, addr), addr)
	}
	p, err := sock.Read(time.Now().Add(60 * time.Second))
	if err != nil || p.Destination.Port() != 6000 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []flow.Ports{nil, make(flow.Ports, 501)} {
		if _, err := capture.Open(bed.Shipper, bad); err == nil {
			t.Errorf("%d ports are captured", len(bad))
		}
	}
}

// What nobody reads in time the kernel drops, and says so.
func TestDropped(t *testing.T) {
	t.Parallel()
	bed := newBed(t)
	sock, err := capture.Open(bed.Shipper, ports)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	l := listen(t, bed.Shipper, "127.0.0.1:5044")
	client, server := connect(t, bed.Shipper, l, "127.0.0.1:5044")
	for limit := time.Now().Add(60 * time.Second); ; {
		tell(t, client, server, bytes.Repeat([]byte("x"), 1<<20))
		n, err := sock.Dropped()
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatal("nothing was dropped")
		}
	}
}
