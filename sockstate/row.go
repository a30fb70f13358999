package sockstate

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"halfopen/flow"
)

// userTick is the unit of times in /proc/net/tcp: USER_HZ is 100 on every
// architecture that Go runs on (include/asm-generic/param.h).
const userTick = time.Second / 100

// cursor walks the columns of one row of /proc/net/tcp{,6}
// (net/ipv4/tcp_ipv4.c: get_tcp4_sock, get_timewait4_sock, get_openreq4). The
// first fault is kept in why and ends the line: what is read after it is zero.
type cursor struct {
	line []byte
	i    int // what comes before was read
	why  string
}

// flow reads the columns sl, local_address and rem_address.
func (c *cursor) flow() flow.Flow {
	c.decimal("sl", 1<<63, ':')
	local := c.addrPort("local_address")
	remote := c.addrPort("rem_address")
	return flow.New(local, remote)
}

// columns reads the others into s, and into cols, which then becomes s.Proc
// unless the row is a minisocket's: those end before the column of the RTO.
func (c *cursor) columns(s *Socket, cols *ProcCols) {
	s.State = State(c.hex("st", 2, ' '))
	if s.State == NewSynRecv {
		s.State = SynRecv
	}
	if s.State < Established || s.State > Closing {
		c.fail("no such state in", "st")
	}
	s.SendQ = uint32(c.hex("tx_queue", 8, ':'))
	s.RecvQ = uint32(c.hex("rx_queue", 8, ' '))
	s.Timer = Timer(c.hex("tr", 2, ':'))
	s.TimerIn = c.ticks("tm->when", c.hex("tm->when", 16, ' '))
	*cols = ProcCols{Retransmits: uint32(c.hex("retrnsmt", 8, ' '))}
	s.UID = uint32(c.decimal("uid", 1<<32-1, ' '))
	cols.Probes = uint32(c.decimal("timeout", 1<<31-1, ' '))
	s.Inode = uint32(c.decimal("inode", 1<<32-1, ' '))
	cols.Ref = uint32(c.decimal("ref", 1<<32-1, ' '))
	c.word("pointer")
	s.Retransmits = cols.Retransmits
	if s.Timer == TimerKeepalive || s.Timer == TimerProbe {
		s.Retransmits = cols.Probes // as inet_diag does
	}
	if c.spaces(); c.i == len(c.line) {
		if s.State != TimeWait && s.State != FinWait2 && s.State != SynRecv {
			c.fail("nothing in", "rto")
		}
		return
	}
	cols.RTO = c.ticks("rto", c.decimal("rto", 1<<63, ' '))
	cols.ATO = c.ticks("ato", c.decimal("ato", 1<<63, ' '))
	ack := uint32(c.decimal("quick and pingpong", 1<<32-1, ' '))
	cols.QuickAcks, cols.PingPong = ack>>1, ack&1 != 0
	cols.Cwnd = uint32(c.decimal("cwnd", 1<<32-1, ' '))
	cols.Ssthresh = c.ssthresh(s.State)
	s.Proc = cols
}

// ssthresh: -1 stands for "before the first loss"; a listener's is the limit of
// its fast open queue instead.
func (c *cursor) ssthresh(state State) Opt[uint32] {
	c.spaces()
	if c.i < len(c.line) && c.line[c.i] == '-' {
		c.i++
		c.decimal("ssthresh", 1<<31-1, ' ')
		return Opt[uint32]{}
	}
	n := c.decimal("ssthresh", 1<<31-1, ' ')
	if state == Listen {
		return Opt[uint32]{}
	}
	return Some(uint32(n))
}

func (c *cursor) addrPort(column string) netip.AddrPort {
	c.spaces()
	text := c.line[c.i:]
	digits := 8
	if len(text) > 8 && text[8] != ':' {
		digits = 32
	}
	if len(text) <= digits || text[digits] != ':' {
		c.fail("want 8 or 32 hexadecimal digits and a port in", column)
		return netip.AddrPort{}
	}
	c.i += digits + 1
	port := uint16(c.hex(column, 4, ' '))
	// Each word is printed as a number in host byte order ("%08X" of __be32), so
	// its bytes come back by storing it as one.
	var b [16]byte
	for i := 0; i < digits; i += 8 {
		word, ok := hexWord([8]byte(text[i:]))
		if !ok {
			c.fail("bad address in", column)
			return netip.AddrPort{}
		}
		binary.NativeEndian.PutUint32(b[i/2:], word)
	}
	if digits == 8 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b), port)
}

// hexWord reads eight hexadecimal digits at once, without a branch for each.
func hexWord(text [8]byte) (n uint32, ok bool) {
	var bad int8
	for _, digit := range text {
		d := hexDigit[digit]
		bad |= d
		n = n<<4 | uint32(d)
	}
	return n, bad >= 0
}

func (c *cursor) fail(why, column string) {
	if c.why == "" {
		c.why = why + " column " + column
	}
	c.i = len(c.line)
}

func (c *cursor) spaces() {
	i := c.i
	for i < len(c.line) && c.line[i] == ' ' {
		i++
	}
	c.i = i
}

// end takes the byte that must follow a value; ' ' may also be the end of line.
func (c *cursor) end(column string, want byte) {
	switch {
	case c.i < len(c.line) && c.line[c.i] == want:
		c.i++
	case c.i == len(c.line) && want == ' ':
	default:
		c.fail("bad value in", column)
	}
}

// hex reads a hexadecimal number of up to most digits.
func (c *cursor) hex(column string, most int, end byte) uint64 {
	c.spaces()
	if text := c.line[c.i:]; most >= 8 && len(text) > 8 && text[8] == end { // as the kernel pads it
		if n, ok := hexWord([8]byte(text)); ok {
			c.i += 9
			return uint64(n)
		}
	}
	n := c.digits(column, most)
	c.end(column, end)
	return n
}

func (c *cursor) digits(column string, most int) (n uint64) {
	text := c.line[c.i:min(c.i+most, len(c.line))]
	for i, digit := range text {
		d := hexDigit[digit]
		if d < 0 {
			text = text[:i]
			break
		}
		n = n<<4 | uint64(d)
	}
	if len(text) == 0 {
		c.fail("no number in", column)
		return 0
	}
	c.i += len(text)
	return n
}

func (c *cursor) decimal(column string, most uint64, end byte) (n uint64) {
	c.spaces()
	i := c.i
	for ; i < len(c.line); i++ {
		d := c.line[i] - '0'
		if d > 9 {
			break
		}
		n = n*10 + uint64(d)
	}
	const fits = 19 // digits in 64 bits
	switch {
	case i == c.i:
		c.fail("no number in", column)
		return 0
	case i-c.i > fits || n > most:
		c.fail("too large a number in", column)
		return 0
	}
	c.i = i
	c.end(column, end)
	return n
}

// word skips a column whose form is the kernel's own: a pointer, hashed, hidden
// or in plain ("%pK").
func (c *cursor) word(column string) {
	c.spaces()
	n := bytes.IndexByte(c.line[c.i:], ' ')
	if n < 0 {
		n = len(c.line) - c.i
	}
	if n == 0 {
		c.fail("nothing in", column)
	}
	c.i += n
}

func (c *cursor) ticks(column string, n uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(userTick)
	if n > most {
		c.fail("too large a number in", column)
		return 0
	}
	return time.Duration(n) * userTick
}

var hexDigit = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, d := range "0123456789" {
		t[d] = int8(i)
	}
	for i := range 6 {
		t['A'+i], t['a'+i] = int8(10+i), int8(10+i)
	}
	return t
}()
