package sockstate

import (
	"bytes"
	"encoding/binary"
	"math/bits"
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
	*cols = ProcCols{}
	c.padded(s, cols)
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
	const port = ":13B4 "
	if len(text) < digits+len(port) || text[digits] != ':' || text[digits+5] != ' ' {
		c.fail("want 8 or 32 hexadecimal digits and a port in", column)
		return netip.AddrPort{}
	}
	addr, ok1 := address(text[:digits], bigEndian)
	n, ok2 := hexWord(zeros&^0xffffffff | uint64(binary.BigEndian.Uint32(text[digits+1:])))
	if !ok1 || !ok2 {
		c.fail("bad digit in", column)
		return netip.AddrPort{}
	}
	c.i += digits + len(port)
	return netip.AddrPortFrom(addr, uint16(n))
}

// bigEndian is the byte order of this machine.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// address reads 8 or 32 digits, printed by a machine of the given byte order: the
// kernel prints each word of an address, which is in network order, as a number
// of its own ("%08X" of __be32).
func address(text []byte, bigEndian bool) (addr netip.Addr, ok bool) {
	var b [16]byte
	ok = true
	for i := 0; i < len(text); i += 8 {
		word, fine := hexWord(binary.BigEndian.Uint64(text[i:]))
		if !bigEndian {
			word = bits.ReverseBytes32(word)
		}
		binary.BigEndian.PutUint32(b[i/2:], word)
		ok = ok && fine
	}
	if len(text) == 8 {
		return netip.AddrFrom4([4]byte(b[:])), ok
	}
	return netip.AddrFrom16(b), ok
}

// padded reads the columns st to retrnsmt, which the kernel writes with leading
// zeros: each has its place.
func (c *cursor) padded(s *Socket, cols *ProcCols) {
	const form = "01 00000000:00000000 00:00000000 00000000 "
	text := c.line[c.i:]
	if len(text) < len(form) || text[2] != ' ' || text[11] != ':' || text[20] != ' ' || text[23] != ':' || text[32] != ' ' || text[41] != ' ' {
		c.fail("bad width from", "st to retrnsmt")
		return
	}
	c.i += len(form)
	tx, ok1 := hexWord(binary.BigEndian.Uint64(text[3:]))
	rx, ok2 := hexWord(binary.BigEndian.Uint64(text[12:]))
	when, ok3 := hexWord(binary.BigEndian.Uint64(text[24:]))
	retransmits, ok4 := hexWord(binary.BigEndian.Uint64(text[33:]))
	state, ok5 := hexWord(zeros&^0xffff | uint64(binary.BigEndian.Uint16(text)))
	timer, ok6 := hexWord(zeros&^0xffff | uint64(binary.BigEndian.Uint16(text[21:])))
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) {
		c.fail("bad digit from", "st to retrnsmt")
		return
	}
	s.State, s.Timer, s.TimerIn = State(state), Timer(timer), time.Duration(when)*userTick
	s.SendQ, s.RecvQ, cols.Retransmits = tx, rx, retransmits
	if s.State == NewSynRecv {
		s.State = SynRecv
	}
	if s.State < Established || s.State > Closing {
		c.fail("no such state in", "st")
	}
}

// zeros are eight digits 0.
const zeros = 0x3030303030303030

// hexWord reads eight hexadecimal digits, the first in the highest byte, all at
// once: no step carries from one byte into the next.
func hexWord(x uint64) (n uint32, ok bool) {
	const each = 0x0101010101010101
	letter := x >> 6 & each // 1 in the bytes from '@' on
	digit := x&(0x0f*each) + 9*letter
	// 0x30 to 0x39 are digits, 0x41 to 0x46 and 0x61 to 0x66 letters.
	wrong := (x|0x20*letter)&(0xf0*each) ^ (zeros + 0x30*letter)
	wrong |= digit&(0xf0*each) | (digit+6*each)>>4&each ^ letter
	digit = (digit | digit>>4) & 0x00ff00ff00ff00ff
	digit = (digit | digit>>8) & 0x0000ffff0000ffff
	return uint32(digit | digit>>16), wrong == 0
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

func (c *cursor) decimal(column string, most uint64, end byte) (n uint64) {
	line, i := c.line, c.i
	for i < len(line) && line[i] == ' ' {
		i++
	}
	first := i
	for ; i < len(line); i++ {
		d := line[i] - '0'
		if d > 9 {
			break
		}
		n = n*10 + uint64(d)
	}
	const fits = 19 // digits in 64 bits
	switch {
	case i == first:
		c.fail("no number in", column)
		return 0
	case i-first > fits || n > most:
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
