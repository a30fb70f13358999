package middlebox

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

func TestListShowsBothSidesOfTheTranslation(t *testing.T) {
	ns := newRedirector(t)
	began := time.Now().Add(-time.Minute)
	sysctl(t, ns, "net/netfilter/nf_conntrack_acct", "1")
	sysctl(t, ns, "net/netfilter/nf_conntrack_timestamp", "1")
	c := openConntrack(t, ns, served)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			client, server := connect(t, ns, ip, dialled, served)
			connect(t, ns, ip, served+1, served+1) // not watched
			e := only(t, c, client)
			if e.Receiver() != server {
				t.Errorf("receiver sees %s, entry says %s", server, e.Receiver())
			}
			if e.State != "ESTABLISHED" || e.Timeout <= 0 || e.Zone != 0 {
				t.Errorf("entry %+v: want ESTABLISHED in zone 0 with time left", e)
			}
			if s := e.Status; !s.SeenReply() || !s.Assured() || !s.DstNAT() || s.SrcNAT() || s.Offloaded() {
				t.Errorf("status %s: want seen_reply, assured, dst_nat", s)
			}
			for _, n := range []*uint64{e.OrigPackets, e.OrigBytes, e.ReplyPackets, e.ReplyBytes} {
				if n == nil || *n == 0 {
					t.Fatalf("entry %+v: want traffic counters", e)
				}
			}
			if e.Start == nil || e.Start.Before(began) || e.Start.After(time.Now().Add(time.Minute)) || e.Stop != nil {
				t.Errorf("started %v, stopped %v: want a start and no end", e.Start, e.Stop)
			}
			sameAfterJSON(t, e)
		})
	}
}

func TestListLeavesOutWhatTheKernelDoesNotCount(t *testing.T) {
	ns := newRedirector(t)
	sysctl(t, ns, "net/netfilter/nf_conntrack_acct", "0")
	sysctl(t, ns, "net/netfilter/nf_conntrack_timestamp", "0")
	c := openConntrack(t, ns, dialled)
	client, _ := connect(t, ns, "127.0.0.1", dialled, served)
	e := only(t, c, client)
	if e.OrigPackets != nil || e.OrigBytes != nil || e.ReplyPackets != nil || e.ReplyBytes != nil || e.Start != nil {
		t.Errorf("entry %+v: want no counters and no start", e)
	}
	sameAfterJSON(t, e)
}

func TestListSeesEachOfTheFourPorts(t *testing.T) {
	ns := newRedirector(t)
	client, _ := connect(t, ns, "127.0.0.1", dialled, served)
	for _, port := range []uint16{client.Local.Port(), dialled, served} {
		only(t, openConntrack(t, ns, port), client)
	}
	for _, ports := range [][]uint16{nil, {served + 1}} {
		if l, err := openConntrack(t, ns, ports...).List(); err != nil || len(l) != 0 {
			t.Errorf("ports %v: %v, %v; want no entries", ports, l, err)
		}
	}
}

func TestListIsTheSameBothWays(t *testing.T) {
	ns := newRedirector(t)
	c := openConntrack(t, ns, served, served+1)
	client, _ := connect(t, ns, "::1", dialled, served)
	insert(t, c, fewEntries*2) // two ports: one more entry than few
	few, filtered, err := c.list(byPort(c.ports))
	if err != nil || !filtered {
		t.Fatalf("by port: filtered %t, %v", filtered, err)
	}
	all, _, err := c.list(byProtocol)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	// The client, and one inserted entry for each of 4 positions of 2 ports.
	if want := 1 + 4*2; len(all) != want {
		t.Errorf("%d entries on the watched ports, want %d", len(all), want)
	}
	if !slices.ContainsFunc(all, func(e Entry) bool { return e.Orig == client }) {
		t.Errorf("no entry of %s", client)
	}
	for _, got := range [][]Entry{few, listed} {
		if diff := cmp.Diff(flows(all), flows(got)); diff != "" {
			t.Errorf("by protocol and by port differ:\n%s", diff)
		}
	}
}

func TestDelete(t *testing.T) {
	ns := newRedirector(t)
	c := openConntrack(t, ns, served)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		client, _ := connect(t, ns, ip, dialled, served)
		e := only(t, c, client)

		other := e
		other.ID++
		if err := c.Delete(other); !errors.Is(err, ErrGone) {
			t.Errorf("delete with another id: %v, want ErrGone", err)
		}
		if err := c.Delete(Entry{ID: e.ID}); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("delete without a tuple: %v, want a refusal", err)
		}
		only(t, c, client)
		if err := c.Delete(e); err != nil {
			t.Errorf("delete: %v", err)
		}
		if err := c.Delete(e); !errors.Is(err, ErrGone) {
			t.Errorf("delete again: %v, want ErrGone", err)
		}
		if l, err := c.List(); err != nil || len(l) != 0 {
			t.Errorf("after delete: %v, %v", l, err)
		}
	}
}

func TestClosedConntrackTellsSo(t *testing.T) {
	c := openConntrack(t, newRedirector(t), served)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err := c.List(); err == nil {
		t.Errorf("list after close: %v, want an error", l)
	}
}

// only returns the one entry of the flow.
func only(t *testing.T, c *Conntrack, orig flow.Flow) Entry {
	t.Helper()
	l, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	l = slices.DeleteFunc(l, func(e Entry) bool { return e.Orig != orig })
	if len(l) != 1 {
		t.Fatalf("%d entries of %s, want 1: %+v", len(l), orig, l)
	}
	return l[0]
}

func sameAfterJSON(t *testing.T, e Entry) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Entry
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back, cmp.Comparer(func(a, b flow.Flow) bool { return a == b })); diff != "" {
		t.Errorf("%s is not the same when read back:\n%s", text, diff)
	}
}

func flows(entries []Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, e.Orig.String())
	}
	slices.Sort(s)
	return s
}

// insert has the kernel make n entries of connections that never were: one on
// each port of c in each of the four positions, the rest on other ports.
func insert(t *testing.T, c *Conntrack, n int) {
	t.Helper()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2") // RFC 5737
	made := func(ports [4]uint16) {
		t.Helper()
		orig := flow.New(netip.AddrPortFrom(a, ports[0]), netip.AddrPortFrom(b, ports[1]))
		reply := flow.New(netip.AddrPortFrom(b, ports[2]), netip.AddrPortFrom(a, ports[3]))
		_, err := c.ask(ipctnlMsgCtNew, netlink.Acknowledge|netlink.Create|netlink.Excl, unix.AF_INET, func(ae *netlink.AttributeEncoder) {
			encodeTuple(ae, ctaTupleOrig, orig)
			encodeTuple(ae, ctaTupleReply, reply)
			ae.Uint32(ctaTimeout, 600)
			ae.Nested(ctaProtoinfo, func(info *netlink.AttributeEncoder) error {
				info.Nested(ctaProtoinfoTCP, func(tcp *netlink.AttributeEncoder) error {
					tcp.Uint8(ctaProtoinfoTCPState, 3)
					return nil
				})
				return nil
			})
		})
		if err != nil {
			t.Fatalf("insert entry %s: %v", orig, err)
		}
	}
	for i, port := range c.ports {
		for position := range 4 {
			ports := [4]uint16{1, 2, 3, 4}
			for p := range ports {
				ports[p] += uint16(i*16 + position*4)
			}
			ports[position] = port
			made(ports)
			n--
		}
	}
	for i := range n {
		made([4]uint16{uint16(20000 + i), 1, 1, uint16(20000 + i)})
	}
}
