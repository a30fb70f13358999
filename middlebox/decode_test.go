package middlebox

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

func TestDecodeRefusesHalfAnEntry(t *testing.T) {
	tuple := func(local, remote string) []byte {
		f := flow.New(netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
		return message(t, func(ae *netlink.AttributeEncoder) { encodeTuple(ae, ctaTupleOrig, f) })
	}
	for name, body := range map[string][]byte{
		"empty":         {},
		"short header":  {unix.AF_INET, 0, 0},
		"cut attribute": {unix.AF_INET, 0, 0, 0, 8, 0, ctaTimeout, 0, 1},
		"wrong size":    {unix.AF_INET, 0, 0, 0, 5, 0, ctaTimeout, 0, 1, 0, 0, 0},
		"no reply":      tuple("10.0.0.1:1", "10.0.0.2:2"),
		"two families":  tuple("10.0.0.1:1", "[2001:db8::1]:2"),
	} {
		if e, ok, err := decode(body); err == nil || ok {
			t.Errorf("%s: decoded as %+v, want an error", name, e)
		}
	}
}

func TestDecodeLeavesOtherProtocolsOut(t *testing.T) {
	body := message(t, func(ae *netlink.AttributeEncoder) {
		ae.Nested(ctaTupleOrig, func(tuple *netlink.AttributeEncoder) error {
			tuple.Nested(ctaTupleProto, func(proto *netlink.AttributeEncoder) error {
				proto.Uint8(ctaProtoNum, unix.IPPROTO_UDP)
				return nil
			})
			return nil
		})
	})
	if e, ok, err := decode(body); ok || err != nil {
		t.Errorf("UDP entry: %+v, %t, %v; want nothing", e, ok, err)
	}
}

// FuzzDecode starts from messages that a kernel sent (testdata/fuzz).
func FuzzDecode(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzDecode/*")
	if err != nil || len(seeds) < 4 {
		f.Fatalf("%d seeds, %v: the kernel's messages are missing", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, ok, err := decode(body)
		if !ok {
			return
		}
		if err != nil {
			t.Fatalf("an entry and an error: %+v, %v", e, err)
		}
		again, ok, err := decode(message(t, func(ae *netlink.AttributeEncoder) {
			encodeTuple(ae, ctaTupleOrig, e.Orig)
			encodeTuple(ae, ctaTupleReply, e.Reply)
			ae.Uint32(ctaStatus, uint32(e.Status))
			ae.Uint32(ctaID, e.ID)
			ae.Uint16(ctaZone, e.Zone)
		}))
		if err != nil || !ok {
			t.Fatalf("encoded %+v, read back %+v, %t, %v", e, again, ok, err)
		}
		want := Entry{Orig: e.Orig, Reply: e.Reply, Status: e.Status, ID: e.ID, Zone: e.Zone}
		if diff := cmp.Diff(want, again, cmp.Comparer(func(a, b flow.Flow) bool { return a == b })); diff != "" {
			t.Fatal(diff)
		}
		sameAfterJSON(t, again)
	})
}

func TestStatusText(t *testing.T) {
	for s, want := range map[Status]string{
		0:                  "",
		1<<1 | 1<<2 | 1<<4: "seen_reply,assured,src_nat",
		1<<15 | 1<<31:      "hw_offload,0x80000000",
	} {
		if s.String() != want {
			t.Errorf("%#x is %q, want %q", uint32(s), s, want)
		}
		var back Status
		if err := back.UnmarshalText([]byte(want)); err != nil || back != s {
			t.Errorf("%q read as %#x, %v", want, uint32(back), err)
		}
	}
	var s Status
	if err := s.UnmarshalText([]byte("assured,bold")); err == nil {
		t.Error("status with an unknown name was read")
	}
}

func message(t *testing.T, fill func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	body, err := encode(unix.AF_INET, fill)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
