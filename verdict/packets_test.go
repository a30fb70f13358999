package verdict

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"halfopen/capture"
	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// wire is a capture made in code: packets of one connection, seen at some places.
type wire struct {
	t       *testing.T
	places  []timeline.Place
	seen    map[string]*capture.Observer
	records []timeline.Record
	client  netip.AddrPort // of the packets that pass from now on
}

const wireStart = 100 * time.Second

var (
	wireNear = netip.MustParseAddrPort("10.50.0.2:40000")
	wireFar  = netip.MustParseAddrPort("10.51.0.2:5044")
)

func newWire(t *testing.T, places ...string) *wire {
	w := &wire{t: t, seen: map[string]*capture.Observer{}, client: wireNear}
	for _, p := range places {
		name, role, _ := strings.Cut(p, " ")
		w.places = append(w.places, timeline.Place{Name: name, Role: role})
		w.seen[name] = &capture.Observer{Ports: flow.NewPorts(5044)}
	}
	w.put(timeline.Body{Header: &timeline.Header{Format: timeline.Format, Ports: flow.NewPorts(5044), Places: w.places}})
	for _, p := range w.places {
		w.put(timeline.Body{Capture: &timeline.Capture{At: p.Name}})
	}
	return w
}

func (w *wire) put(b timeline.Body) {
	w.records = append(w.records, timeline.Record{N: uint64(len(w.records) + 1), Time: time.Unix(1_700_000_100, 0).UTC(), Mono: wireStart, Body: b})
}

// packet is one on the wire: at is microseconds after the start, from whether it
// comes from the watched port.
type packet struct {
	at       int
	from     bool
	flags    capture.Flags
	seq, ack uint32
	bytes    int
	ttl      uint8
	id       uint16
}

func (w *wire) pass(place, name string, way capture.Way, list ...packet) {
	for _, p := range list {
		at := wireStart + time.Duration(p.at)*time.Microsecond
		src, dst := w.client, wireFar
		if p.from {
			src, dst = dst, src
		}
		if p.ttl == 0 {
			p.ttl = 64
		}
		w.seen[place].Add(capture.Packet{
			Time: time.Unix(1_700_000_000, 0).Add(at), Mono: at, Interface: name, Way: way, Segments: 1,
			Header: capture.Header{Source: src, Destination: dst, TTL: p.ttl, ID: p.id, Seq: p.seq, Ack: p.ack, Flags: p.flags, Payload: p.bytes},
		})
	}
}

// ends are the findings about packets.
func (w *wire) ends() (texts []string) {
	w.t.Helper()
	for _, p := range w.places {
		for _, c := range w.seen[p.Name].Due(0, true) {
			w.put(timeline.Body{Packets: &timeline.Packets{At: p.Name, Connection: c}})
		}
	}
	w.put(timeline.Body{End: &timeline.End{Reason: timeline.EndDone}})
	for _, f := range Judge(&timeline.Recording{Path: "x", Records: w.records}, Defaults()).Findings {
		switch f.Rule {
		case "who reset", "who closed", "lost on the way", "packets":
			texts = append(texts, f.Rule+": "+f.Text)
			if len(f.Records) == 0 {
				w.t.Errorf("%s rests on no record", f.Text)
			}
		}
	}
	return texts
}

func (w *wire) want(words ...string) {
	w.t.Helper()
	all := strings.Join(w.ends(), "\n")
	for _, word := range words {
		if no, not := strings.CutPrefix(word, "!"); strings.Contains(all, no) == not {
			w.t.Errorf("want %q in:\n%s", word, all)
		}
	}
}

const ack = capture.ACK

// handshake is a SYN, its answer, and a few bytes either way, 900 µs apart.
func handshake(ttl uint8) (near, far []packet) {
	return []packet{
			{at: 0, flags: capture.SYN, seq: 1000},
			{at: 950, flags: ack, seq: 1001, ack: 9001},
			{at: 1000, flags: ack, seq: 1001, ack: 9001, bytes: 10},
			{at: 2000, flags: ack, seq: 1011, ack: 9006},
			{at: 2100, flags: ack, seq: 1011, ack: 9006, bytes: 10},
		}, []packet{
			{at: 900, from: true, flags: capture.SYN | ack, seq: 9000, ack: 1001, ttl: ttl, id: 1},
			{at: 1900, from: true, flags: ack, seq: 9001, ack: 1011, bytes: 5, ttl: ttl, id: 2},
			{at: 3000, from: true, flags: ack, seq: 9006, ack: 1021, ttl: ttl, id: 3},
		}
}

// A published capture of a web server that a load balancer asked for a page: both
// ends seemed to reset at the same moment, and neither had.
func TestResetsBothWaysAtOnce(t *testing.T) {
	w := newWire(t, "web receiver")
	w.pass("web", "eth0", capture.In,
		packet{at: 259562, flags: capture.SYN, seq: 3514370013},
		packet{at: 260548, flags: ack, seq: 3514370014, ack: 1747571873},
		packet{at: 260695, flags: ack, seq: 3514370014, ack: 1747571873, bytes: 1245})
	w.pass("web", "eth0", capture.In, packet{at: 260846, flags: capture.RST, seq: 3514370014})
	w.want("RST toward", "after byte 0", "who sent it can't be told")

	w = newWire(t, "web receiver")
	w.pass("web", "eth0", capture.In, packet{at: 259562, flags: capture.SYN, seq: 3514370013})
	w.pass("web", "eth0", capture.Out, packet{at: 259622, from: true, flags: capture.SYN | ack, seq: 1747571872, ack: 3514370014})
	w.pass("web", "eth0", capture.In,
		packet{at: 260548, flags: ack, seq: 3514370014, ack: 1747571873},
		packet{at: 260695, flags: ack, seq: 3514370014, ack: 1747571873, bytes: 1245})
	w.pass("web", "eth0", capture.In, packet{at: 260840, from: true, flags: capture.RST, seq: 1747571873})
	w.pass("web", "eth0", capture.In, packet{at: 260846, flags: capture.RST, seq: 3514370014})
	w.want("a box between (likely)", "resets went both ways within 6µs, a round trip takes 986µs")
}

// What one end can see of a reset.
func TestWhoResetFromOneEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		reset packet
		then  []packet
		want  []string
	}{
		{"as the peer", packet{seq: 9006, ttl: 63, id: 4}, nil, []string{"sent by the peer's host 10.51.0.2 (likely)", "after byte 5", "TTL 63, as"}},
		{"from nearer", packet{seq: 9006, ttl: 64}, nil, []string{"a box between (likely)", "TTL 64, so 0 hops away", "have 63, 1 hop"}},
		{"another start", packet{seq: 9006, ttl: 254}, nil, []string{"can't be told", "as far away by hops", "capture at the other end"}},
		{"an old number, another start", packet{seq: 9003, ttl: 254}, nil, []string{"a box between (likely)", "its number is 3 where 6 came next"}},
		{"too soon", packet{at: -870, seq: 9006, ack: 1021, flags: ack, ttl: 63}, nil, []string{"a box between (likely)", "an answer takes 900µs at least"}},
		{"the peer goes on", packet{seq: 9006, ttl: 63}, []packet{{at: 9_000_000, from: true, flags: ack, seq: 9006, ack: 1021, ttl: 63}}, []string{"a box between (likely)", "the same direction went on: 1 packet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, "a shipper")
			near, far := handshake(63)
			w.pass("a", "eth0", capture.Out, near[:1]...)
			w.pass("a", "eth0", capture.In, far[0])
			w.pass("a", "eth0", capture.Out, near[1:3]...)
			w.pass("a", "eth0", capture.In, far[1])
			w.pass("a", "eth0", capture.Out, near[3:]...)
			if c.reset.at == 0 {
				w.pass("a", "eth0", capture.In, far[2])
			}
			c.reset.at, c.reset.from, c.reset.flags = c.reset.at+3010, true, c.reset.flags|capture.RST
			w.pass("a", "eth0", capture.In, c.reset)
			w.pass("a", "eth0", capture.In, c.then...)
			w.want(append(c.want, "who reset: ")...)
		})
	}
}

// bothEnds is a connection captured at a shipper, a router and a receiver.
func bothEnds(t *testing.T) *wire {
	w := newWire(t, "a shipper", "m router", "z receiver")
	near, _ := handshake(0)
	w.pass("a", "eth0", capture.Out, near...)
	w.pass("m", "in", capture.In, near...)
	w.pass("m", "out", capture.Out, near...)
	w.pass("z", "eth0", capture.In, near...)
	_, far := handshake(64)
	w.pass("z", "eth0", capture.Out, far...)
	w.pass("m", "out", capture.In, far...)
	_, far = handshake(63)
	w.pass("m", "in", capture.Out, far...)
	w.pass("a", "eth0", capture.In, far...)
	return w
}

// Captured at both ends, it is certain.
func TestWhoResetFromBothEnds(t *testing.T) {
	rst := packet{at: 3050, from: true, flags: capture.RST, seq: 9006, ttl: 64}
	t.Run("the receiver", func(t *testing.T) {
		w := bothEnds(t)
		for _, at := range []struct {
			place, name string
			way         capture.Way
		}{{"z", "eth0", capture.Out}, {"m", "out", capture.In}, {"m", "in", capture.Out}, {"a", "eth0", capture.In}} {
			w.pass(at.place, at.name, at.way, rst)
			rst.at += 10
		}
		w.want("sent by the peer's host 10.51.0.2, that is z (certain)", "!box", "!lost")
	})
	t.Run("the router", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("m", "in", capture.Out, rst)
		w.pass("a", "eth0", capture.In, rst)
		w.want("a box between: m (certain)", "had come in by no interface", "TTL 64, so 0 hops away")
	})
	t.Run("the router, which refuses others too", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("m", "in", capture.Out, rst)
		w.pass("a", "eth0", capture.In, rst)
		for i := range uint16(mostEnds) {
			w.client = netip.AddrPortFrom(wireNear.Addr(), wireNear.Port()+1+i)
			syn, no := packet{at: 5000, flags: capture.SYN, seq: 5000 + uint32(i)}, packet{at: 5010, from: true, flags: capture.RST | ack, ack: 5001 + uint32(i)}
			w.pass("a", "eth0", capture.Out, syn)
			w.pass("m", "in", capture.In, syn)
			w.pass("m", "in", capture.Out, no)
			w.pass("a", "eth0", capture.In, no)
		}
		// The connection that lived is told of, though others were refused after it.
		w.want(wireNear.String()+" -> 10.51.0.2:5044: RST from the watched port passed a:eth0", "RST ACK", "a box between: m (certain)", "!the peer's host")
	})
	t.Run("a box that was not captured", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("a", "eth0", capture.In, rst)
		w.want("a box between (certain)", "z, was captured too and sent none")
	})
	t.Run("a capture with holes", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("a", "eth0", capture.In, rst)
		w.put(timeline.Body{Capture: &timeline.Capture{At: "z", Dropped: 5, Ended: true}})
		w.records[len(w.records)-1].Mono += time.Minute
		w.want("a box between (likely: the capture there lost packets)")
	})
	t.Run("a capture that had ended", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("a", "eth0", capture.In, rst)
		w.put(timeline.Body{Capture: &timeline.Capture{At: "z", Ended: true}})
		w.want("a box between (likely)", "TTL 64, so 0 hops away", "!certain")
	})
	t.Run("a recorder that was killed", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("a", "eth0", capture.In, rst)
		w.ends()
		w.records = w.records[:len(w.records)-1]
		v := Judge(&timeline.Recording{Path: "x", Records: w.records}, Defaults())
		for _, f := range v.Findings {
			if strings.Contains(f.Text, certain) {
				t.Errorf("certain, and yet the receiver's packets may not have been recorded: %s", f.Text)
			}
		}
	})
	t.Run("a rule on the receiver", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("z", "eth0", capture.Out, rst)
		w.pass("a", "eth0", capture.In, rst)
		w.put(timeline.Body{Sockets: &timeline.Sockets{At: "z", Readings: 1, Sockets: []sockstate.Socket{{Flow: flow.New(wireFar, wireNear), State: sockstate.Established, Inode: 7}}}})
		w.records[len(w.records)-1].Mono += time.Minute
		w.want("that is z (certain)", "a rule or a program on that host sent it, not its TCP")
	})
	t.Run("a FIN that is lost", func(t *testing.T) {
		w := bothEnds(t)
		w.pass("z", "eth0", capture.Out, packet{at: 4000, from: true, flags: capture.FIN | ack, seq: 9006, ack: 1021})
		w.pass("m", "out", capture.In, packet{at: 4010, from: true, flags: capture.FIN | ack, seq: 9006, ack: 1021})
		w.want("lost on the way: ", "FIN ACK left z:eth0", "after byte 5", "never arrived at a:eth0")
	})
	t.Run("the shipper", func(t *testing.T) {
		w := bothEnds(t)
		fin := packet{at: 4000, flags: capture.FIN | ack, seq: 1021, ack: 9006}
		w.pass("a", "eth0", capture.Out, fin)
		w.want("who closed: ", "sent by the client's host 10.50.0.2, that is a (certain)", "never arrived at z:eth0")
	})
}

// FuzzPackets judges whatever captures say.
func FuzzPackets(f *testing.F) {
	for _, place := range []string{"a", "z"} { // small seeds: large ones are minimized for minutes
		w := newWire(&testing.T{}, "a shipper", "z receiver")
		w.pass("a", "eth0", capture.In, packet{at: 3040, from: true, flags: ack, seq: 9006, ttl: 63})
		w.pass("z", "eth0", capture.Out, packet{at: 3040, from: true, flags: ack, seq: 9006, ttl: 64})
		w.pass(place, "eth0", capture.In, packet{at: 3050, from: true, flags: capture.RST, seq: 9006, ttl: 64})
		w.ends()
		text, err := json.Marshal(w.records)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`[{"n":1,"header":{"places":[{"name":"a","role":"shipper"}],"ports":[5044]}},{"n":2,"capture":{"at":"a"}},
		{"n":3,"packets":{"at":"a","also":["a","b"],"toward":{"packets":1,"opened":true,"ttl_min":1},"from":{"way":"out","plain":9,"ttl_min":200,"ttl_max":3,"rtt_min_ns":-1},
		"signs":[{"flags":"RST","direction":"up","way":"in","mono_ns":-9223372036854775808,"seq":-9223372036854775808,"ack":1,"after_ns":9223372036854775807},{"flags":"FIN","mono_ns":9223372036854775807}]}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var records []timeline.Record
		if json.Unmarshal(text, &records) != nil || len(records) == 0 || records[0].Header == nil {
			return
		}
		for _, k := range records[1:] {
			if k.Body != (timeline.Body{Packets: k.Packets}) && k.Body != (timeline.Body{Capture: k.Capture}) {
				return
			}
		}
		rec := &timeline.Recording{Path: "x", Records: records}
		sameTwice(t, rec)
	})
}
