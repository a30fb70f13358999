package flow

import (
	"net/netip"
	"strings"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A Java receiver's sockets are IPv4-mapped; its client's are not.
func TestMappedAddressesCompareEqual(t *testing.T) {
	client := New(ap("10.50.0.2:33342"), ap("10.51.0.2:5044"))
	server := New(ap("[::ffff:10.51.0.2]:5044"), ap("[::ffff:10.50.0.2]:33342"))
	if server.Reverse() != client {
		t.Errorf("%s is not the reverse of %s", server, client)
	}
}

// The spelling of a port is computed: documents have it wrong (13C4 is 5060).
func TestHex(t *testing.T) {
	for port, want := range map[uint16]string{5044: "13B4", 5060: "13C4", 5066: "13CA", 24224: "5EA0", 80: "0050"} {
		if got := Hex(port); got != want {
			t.Errorf("Hex(%d) is %s, want %s", port, got, want)
		}
		if back, err := ParsePort("0x" + want); err != nil || back != port {
			t.Errorf("ParsePort(0x%s) is %d, %v", want, back, err)
		}
	}
}

func TestParsePort(t *testing.T) {
	for in, want := range map[string]uint16{
		"5044": 5044, "13B4": 5044, "13b4": 5044, "0x13B4": 5044, "0X13b4": 5044, "1": 1, "65535": 65535,
	} {
		if got, err := ParsePort(in); err != nil || got != want {
			t.Errorf("ParsePort(%q) is %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "65536", "-1", "5044 ", "0x", "0x13B4F", "beats", "１２"} {
		if got, err := ParsePort(in); err == nil || !strings.Contains(err.Error(), "0x13B4") {
			t.Errorf("ParsePort(%q) is %d, %v; want an error with an example", in, got, err)
		}
	}
}

func TestPorts(t *testing.T) {
	s := NewPorts(24224, 5044, 5044)
	if len(s) != 2 || !s.Has(5044) || s.Has(5060) {
		t.Errorf("set is %v", s)
	}
	f := New(ap("10.0.0.1:5044"), ap("10.0.0.2:40000"))
	if !s.Match(f) || !s.Match(f.Reverse()) || NewPorts().Match(f) {
		t.Error("Match looks at both ends, and the empty set matches nothing")
	}
}

// 13C4 is 5060, one digit from the 13B4 that was meant.
func TestNearMiss(t *testing.T) {
	if near, ok := NearMiss(5060); !ok || near != 5044 {
		t.Errorf("near 5060 is %d, %v", near, ok)
	}
	for _, p := range []uint16{5044, 24224, 443, 1} {
		if near, ok := NearMiss(p); ok {
			t.Errorf("near %d is %d", p, near)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	for _, seed := range []string{"5044", "13B4", "0x13B4", "", "0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if p, err := ParsePort(in); err == nil && p == 0 {
			t.Errorf("ParsePort(%q) is port 0", in)
		}
	})
}
