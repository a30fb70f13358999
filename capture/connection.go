package capture

import (
	"time"

	"halfopen/flow"
)

// Connection is what the packets of a connection that passed one interface have
// said since the first of them. Numbers of bytes are relative, as tshark shows
// them: the SYN has 0, the first byte 1; where no SYN was seen, the first byte
// that was. Local is the end whose port is not watched.
type Connection struct {
	Interface string `json:"interface"`
	flow.Flow
	Toward Half `json:"toward"` // packets to the watched port
	From   Half `json:"from"`   // packets from it
	// Signs are the packets with SYN, FIN or RST since what was told before, at
	// most MaxSigns of them; More is how many there were beyond.
	Signs []Sign `json:"signs,omitempty"`
	More  int    `json:"more_signs,omitempty"`
}

// MaxSigns bounds Connection.Signs.
const MaxSigns = 16

// Direction is one of the two halves of a connection.
type Direction string

// The directions.
const (
	Toward Direction = "toward" // to the watched port
	From   Direction = "from"   // from it
)

// Of gives the half of a direction.
func (c *Connection) Of(d Direction) *Half {
	if d == Toward {
		return &c.Toward
	}
	return &c.From
}

// Other is the opposite direction.
func (d Direction) Other() Direction {
	if d == Toward {
		return From
	}
	return Toward
}

// Half is one direction of a connection.
type Half struct {
	Packets uint64 `json:"packets"`
	Way     Way    `json:"way,omitempty"` // of the last one
	Bytes   uint64 `json:"bytes"`         // of payload, those that were sent again too
	// Base is the sequence number, as sent, that the relative 0 stands for. Absent
	// where no packet told it. Opened says that it is that of a SYN.
	Base   *uint32 `json:"base,omitempty"`
	Opened bool    `json:"opened,omitempty"`
	// Next is the number of the byte behind the last one seen, Acked the highest
	// that the other half has acknowledged: the last acknowledged byte is the one
	// before it. Absent where nothing was.
	Next  *int64 `json:"next,omitempty"`
	Acked *int64 `json:"acked,omitempty"`
	// Retransmits counts segments whose bytes passed here before. Late counts those
	// that fill a hole: they were lost on the way here and sent again, or overtaken.
	Retransmits uint64        `json:"retransmits"`
	Late        uint64        `json:"late"`
	First       time.Time     `json:"first,omitzero"`
	Last        time.Time     `json:"last,omitzero"` // packet, by the kernel's stamp
	LastMono    time.Duration `json:"last_mono_ns,omitempty"`
	// TTLMin and TTLMax are of the packets with neither FIN nor RST, Plain is their
	// number.
	Plain  uint64 `json:"plain"`
	TTLMin *uint8 `json:"ttl_min,omitempty"`
	TTLMax *uint8 `json:"ttl_max,omitempty"`
	Window uint16 `json:"window"` // of the last one with neither FIN nor RST, as sent
	// AfterReset counts packets of this half without RST that came behind one with.
	AfterReset uint64 `json:"after_reset,omitempty"`
	// RTT is the shortest time from a segment of this half to the acknowledgement
	// of it, as both passed here.
	RTT *time.Duration `json:"rtt_min_ns,omitempty"`
}

// Sign is a packet with SYN, FIN or RST.
type Sign struct {
	Time      time.Time     `json:"time"` // the kernel's stamp
	Mono      time.Duration `json:"mono_ns"`
	Direction Direction     `json:"direction"`
	Way       Way           `json:"way,omitempty"`
	Flags     string        `json:"flags"`
	// Seq is its number, Expected the one that was next in its half, Acked the
	// highest that the other half had acknowledged: a host that no longer knows the
	// connection answers with that (RFC 9293, section 3.10.7.1).
	Seq      *int64 `json:"seq,omitempty"`
	Expected *int64 `json:"expected,omitempty"`
	Acked    *int64 `json:"acked,omitempty"`
	// Ack is what it acknowledges of the other half, absent without the ACK flag.
	Ack    *int64  `json:"ack,omitempty"`
	Bytes  int     `json:"bytes"`
	Window uint16  `json:"window"`
	TTL    uint8   `json:"ttl"`
	ID     *uint16 `json:"ip_id,omitempty"`        // absent in IPv6
	Before *uint16 `json:"ip_id_before,omitempty"` // of the half's last packet before it
	// After is how long it came behind the last packet of the other half.
	After *time.Duration `json:"after_ns,omitempty"`
}
