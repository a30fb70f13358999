package capture_test

import (
	"net/netip"
	"testing"
	"time"

	"halfopen/capture"
)

// sent is a packet of a story: to the watched port unless from is set.
type sent struct {
	from     bool
	flags    capture.Flags
	seq, ack uint32
	bytes    int
	segments int
}

const syn, ackFlag, fin, rst = capture.SYN, capture.ACK, capture.FIN, capture.RST

func follow(story []sent) (c capture.Connection, all []capture.Connection) {
	o := capture.Observer{Ports: ports}
	near, far := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:5044")
	for i, s := range story {
		p := capture.Packet{
			Time: time.Unix(1, int64(i)*1e6), Mono: time.Duration(i+1) * time.Millisecond, Interface: "eth0", Segments: max(s.segments, 1),
			Header: capture.Header{Source: near, Destination: far, Flags: s.flags, Seq: s.seq, Ack: s.ack, Payload: s.bytes, TTL: 64},
		}
		if s.from {
			p.Source, p.Destination = far, near
		}
		o.Add(p)
	}
	all = o.Due(time.Hour, true)
	return all[len(all)-1], all
}

// What is sent again, comes late, only probes, or begins anew.
func TestObserver(t *testing.T) {
	const end = 1<<32 - 5 // numbers begin at 0 again soon
	opened := []sent{{flags: syn, seq: end - 1}, {from: true, flags: syn | ackFlag, seq: 99, ack: end}, {flags: ackFlag, seq: end, ack: 100}}
	for _, c := range []struct {
		name        string
		story       []sent
		again, late uint64
		next, acked int64
	}{
		{"in order, over the end of the numbers", []sent{{flags: ackFlag, seq: end, ack: 100, bytes: 10}, {flags: ackFlag, seq: 5, ack: 100, bytes: 10}, {from: true, flags: ackFlag, seq: 100, ack: 15}}, 0, 0, 21, 21},
		{"sent again", []sent{{flags: ackFlag, seq: end, ack: 100, bytes: 10}, {flags: ackFlag, seq: end, ack: 100, bytes: 10}, {flags: ackFlag, seq: end, ack: 100, bytes: 20, segments: 2}}, 3, 0, 21, 1},
		{"overtaken", []sent{{flags: ackFlag, seq: 5, ack: 100, bytes: 10}, {flags: ackFlag, seq: end, ack: 100, bytes: 10}}, 0, 1, 21, 1},
		{"overtaken, then sent again", []sent{{flags: ackFlag, seq: 5, ack: 100, bytes: 10}, {flags: ackFlag, seq: end, ack: 100, bytes: 10}, {flags: ackFlag, seq: end, ack: 100, bytes: 10}}, 1, 1, 21, 1},
		{"a hole that is filled in two", []sent{{flags: ackFlag, seq: 15, ack: 100, bytes: 1}, {flags: ackFlag, seq: 5, ack: 100, bytes: 2}, {flags: ackFlag, seq: end, ack: 100, bytes: 10}, {flags: ackFlag, seq: 5, ack: 100, bytes: 2}}, 1, 2, 22, 1},
		{"keepalive", []sent{{flags: ackFlag, seq: end - 1, ack: 100}, {flags: ackFlag, seq: end - 1, ack: 100, bytes: 1}}, 0, 0, 1, 1},
		{"SYN again", []sent{{flags: syn, seq: end - 1}}, 1, 0, 1, 1},
		{"FIN again", []sent{{flags: fin | ackFlag, seq: end, ack: 100}, {flags: fin | ackFlag, seq: end, ack: 100}, {from: true, flags: ackFlag, seq: 100, ack: end + 1}}, 1, 0, 2, 2},
		{"a reset has no number of its own", []sent{{flags: rst, seq: 995}, {flags: ackFlag, seq: end, ack: 100, bytes: 2}}, 0, 0, 3, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, all := follow(append(opened[:3:3], c.story...))
			h := got.Toward
			if len(all) != 1 || h.Retransmits != c.again || h.Late != c.late || *h.Next != c.next || *h.Acked != c.acked || !h.Opened || *h.Base != end-1 {
				t.Errorf("%d connections; sent again %d, late %d, next %d, acknowledged %d; want %+v", len(all), h.Retransmits, h.Late, *h.Next, *h.Acked, c)
			}
		})
	}
	t.Run("ports used again", func(t *testing.T) {
		got, all := follow(append(opened[:3:3], sent{flags: rst, seq: end}, sent{flags: syn, seq: 7}))
		if len(all) != 2 || got.Toward.Packets != 1 || *got.Toward.Base != 7 || len(all[0].Signs) != 3 || *all[0].Signs[2].Seq != 1 {
			t.Errorf("%+v", all)
		}
	})
	t.Run("from the middle", func(t *testing.T) {
		got, _ := follow([]sent{{from: true, flags: ackFlag, seq: 500, ack: 1000, bytes: 5}, {flags: ackFlag, seq: 1000, ack: 505, bytes: 3}, {from: true, flags: rst, seq: 505}})
		if got.Toward.Opened || *got.Toward.Next != 4 || *got.From.Next != 6 || *got.From.Acked != 6 || *got.Signs[0].Seq != 6 || *got.Signs[0].Expected != 6 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("many resets", func(t *testing.T) {
		story := opened[:3:3]
		for range 40 {
			story = append(story, sent{from: true, flags: rst, seq: 100})
		}
		if got, _ := follow(story); len(got.Signs) != capture.MaxSigns || got.More != 40+2-capture.MaxSigns {
			t.Errorf("%d signs and %d more", len(got.Signs), got.More)
		}
	})
}
