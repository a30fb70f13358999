package capture_test

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"halfopen/capture"
)

// ipv4 is a packet with a payload.
func ipv4(flags byte, seq, ack uint32, options int, payload string) []byte {
	b := make([]byte, 20+20+options, 200)
	b[0], b[8], b[9] = 0x45, 64, 6
	copy(b[12:], []byte{10, 50, 0, 2, 10, 51, 0, 2})
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	binary.BigEndian.PutUint16(b[4:], 7)
	binary.BigEndian.PutUint16(b[20:], 40000)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint32(b[24:], seq)
	binary.BigEndian.PutUint32(b[28:], ack)
	b[32], b[33] = byte(20+options)/4<<4, flags
	return append(b, payload...)
}

func ipv6(payload string) []byte {
	four := ipv4(0x18, 1, 1, 0, payload)
	b := make([]byte, 40, 200)
	b[0], b[6], b[7] = 0x60, 6, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(four)-20))
	copy(b[8:], netip.MustParseAddr("fd00::1").AsSlice())
	copy(b[24:], netip.MustParseAddr("::ffff:10.51.0.2").AsSlice())
	return append(b, four[20:]...)
}

// The headers end where the payload begins, whatever options they have.
func TestDecode(t *testing.T) {
	for _, options := range []int{0, 12, 40} {
		data := ipv4(0x18, 5, 6, options, secret)
		h, n, err := capture.Decode(data[:len(data)-3], len(data))
		if err != nil || n != 40+options || h.Payload != len(secret) || h.Seq != 5 || h.Ack != 6 || h.ID != 7 || h.TTL != 64 || h.Flags.String() != "ACK" {
			t.Errorf("%+v, %d, %v", h, n, err)
		}
	}
	h, n, err := capture.Decode(ipv6(secret), 60+len(secret))
	if err != nil || n != 60 || h.Payload != len(secret) || !h.V6 || h.Destination != netip.MustParseAddrPort("10.51.0.2:5044") {
		t.Errorf("%+v, %d, %v", h, n, err)
	}
	for what, hurt := range map[string]func([]byte) []byte{
		"empty":         func(b []byte) []byte { return nil },
		"other version": func(b []byte) []byte { b[0] = 0x55; return b },
		"fragment":      func(b []byte) []byte { b[7] = 1; return b },
		"UDP":           func(b []byte) []byte { b[9] = 17; return b },
		"short IP":      func(b []byte) []byte { b[0] = 0x44; return b },
		"short TCP":     func(b []byte) []byte { b[32] = 4 << 4; return b },
		"long TCP":      func(b []byte) []byte { b[32] = 15 << 4; return b },
		"cut":           func(b []byte) []byte { return b[:39] },
	} {
		if h, _, err := capture.Decode(hurt(ipv4(0x18, 5, 6, 0, "ab")), 42); err == nil {
			t.Errorf("%s: %+v", what, h)
		}
	}
}

// FuzzDecode reads whatever a peer sends.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][]byte{ipv4(0x18, 1, 1, 0, secret), ipv4(2, 1, 0, 40, ""), ipv4(4, 1, 1, 12, "x"), ipv6("abc"), {0x45}, {0x60, 0}} {
		f.Add(seed, 0)
		f.Add(seed, 1<<17)
	}
	f.Fuzz(func(t *testing.T, data []byte, more int) {
		length := len(data) + max(more, 0)%(1<<20)
		h, n, err := capture.Decode(data, length)
		if err == nil && (n > len(data) || n < 40 || h.Payload < 0 || h.Payload > 1<<21) {
			t.Errorf("%d bytes of headers among %d, %+v", n, len(data), h)
		}
	})
}

// FuzzObserver follows whatever packets come, in bounded memory, and what it tells
// can be written down.
func FuzzObserver(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0x12, 0, 1, 0, 0, 1, 0x10, 1, 0, 0, 0, 9, 4, 200, 0, 200, 1, 1})
	f.Add([]byte{1, 255, 255, 0, 0, 200, 2, 0, 0, 255, 255, 1, 4, 0, 127, 0, 128, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		o := capture.Observer{Ports: ports}
		now := time.Duration(1)
		for ; len(data) >= 6; data = data[6:] {
			near := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, data[5] & 3}), 40000)
			far := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, 0}), port)
			if data[5]&4 != 0 {
				near, far = far, near
			}
			now += time.Millisecond
			o.Add(capture.Packet{
				Time: time.Unix(0, int64(now)), Mono: now, Interface: "eth0", Segments: 1,
				Header: capture.Header{
					Source: near, Destination: far, Flags: capture.Flags(data[0]), Payload: int(data[5]) * 50, TTL: data[2],
					Seq: uint32(data[1])<<24 | uint32(data[2]), Ack: uint32(data[3])<<24 | uint32(data[4]),
				},
			})
		}
		for _, c := range o.Due(now, true) {
			if _, err := json.Marshal(c); err != nil || len(c.Signs) > capture.MaxSigns {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if again := o.Due(now, true); len(again) > 0 {
			t.Errorf("told twice: %+v", again)
		}
	})
}

// More connections than are followed make room for one another, and none is lost
// without a word.
func TestManyConnections(t *testing.T) {
	o := capture.Observer{Ports: ports}
	const many = 10_000
	told := map[string]bool{}
	note := func(all bool) {
		for _, c := range o.Due(time.Hour, all) {
			told[c.Flow.String()] = true
		}
	}
	for i := range many {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 40000)
		o.Add(capture.Packet{Mono: time.Duration(i + 1), Header: capture.Header{Source: from, Destination: netip.MustParseAddrPort("10.0.0.1:5044"), Flags: capture.SYN, Seq: uint32(i)}})
		if i == many/2 {
			note(false)
		}
	}
	note(true)
	if len(told) != many {
		t.Errorf("%d connections were told of, want %d", len(told), many)
	}
}
