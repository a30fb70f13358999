package sockstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

const nlmsghdrLen = 16 // struct nlmsghdr (include/uapi/linux/netlink.h)

// ErrGone: no socket has that flow and cookie any more. It was closed, or it
// became a minisocket, whose cookie is another.
var ErrGone = errors.New("socket is gone")

// lookupBatch is how many sockets one exchange with the kernel reads.
const lookupBatch = 16

// lookup is what look-ups need: a netlink socket of their own, and room for a
// batch of requests and answers, which is used again.
//
// They do not use mdlayher/netlink's Execute, which allocates a buffer, a slice
// of messages and a request a call, and asks for one socket a call: look-ups are
// for following connections a hundred times a second.
type lookup struct {
	fd       int    // -1 once closed
	seq      uint32 // of the last request
	requests [lookupBatch]request
	replies  [lookupBatch][4 << 10]byte // an answer is below 1 KiB; keys of TCP-MD5 come on top
	iovecs   [lookupBatch]unix.Iovec
	messages [lookupBatch]mmsghdr
}

type request [nlmsghdrLen + reqLen]byte

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32 // bytes received
}

// openLookup opens a netlink socket that the runtime's poller does not know: it
// would wake a thread for every answer, which nearly doubles a look-up's time.
// The kernel answers within the call of write(2), so there is nothing to wait
// for: the socket does not block, and no answer is an error at once.
func openLookup(ns *netns.NS) (*lookup, error) {
	l := new(lookup)
	for i := range l.messages {
		l.iovecs[i].Base = &l.replies[i][0]
		l.iovecs[i].SetLen(len(l.replies[i]))
		l.messages[i].Iov = &l.iovecs[i]
		l.messages[i].SetIovlen(1)
	}
	open := func() (err error) {
		l.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
		return os.NewSyscallError("socket", err)
	}
	if ns == nil {
		return l, open()
	}
	return l, ns.Do(open)
}

// Lookup reads one socket anew, found by its flow and cookie, into dst; *dst.Info
// is written in place, so a reading that is to be kept must be copied first; an
// error leaves dst as it was. A dst without cookie (from /proc) matches whatever socket has the flow, and gets
// its cookie. The error is ErrGone when there is none. Listeners that share one
// address (SO_REUSEPORT) can't be told apart: of these one is found, the others
// are ErrGone.
func (d *Diag) Lookup(dst *Socket) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs [1]error
	d.lookup.batch(unsafe.Slice(dst, 1), errs[:])
	return errs[0]
}

// LookupAll is Lookup for several sockets. errs, as long as dst, gets for each
// what Lookup would return.
func (d *Diag) LookupAll(dst []Socket, errs []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(dst) > 0 {
		n := min(len(dst), lookupBatch)
		d.lookup.batch(dst[:n], errs[:n])
		for i := range n {
			if errs[i] == errSilent { // a receive buffer may have no room for so many answers
				d.lookup.batch(dst[i:i+1], errs[i:i+1])
			}
		}
		dst, errs = dst[n:], errs[n:]
	}
}

// errSilent is what a look-up ends with instead of waiting.
var errSilent = errors.New("look up socket: the kernel did not answer")

func (l *lookup) batch(dst []Socket, errs []error) {
	for i := range errs {
		errs[i] = errSilent
	}
	err := l.send(dst)
	if err == nil {
		err = l.receive(dst, errs)
	}
	if err != nil {
		err = fmt.Errorf("look up socket: %w", err)
		for i := range errs {
			if errs[i] == errSilent {
				errs[i] = err
			}
		}
	}
}

// send asks for all sockets in one message; the kernel has answered them when it
// returns (netlink_rcv_skb, net/netlink/af_netlink.c).
func (l *lookup) send(dst []Socket) error {
	for i := range dst {
		l.seq++
		putLookup(&l.requests[i], l.seq, &dst[i])
	}
	_, err := call(unix.SYS_WRITE, l.fd, unsafe.Pointer(&l.requests), len(dst)*len(l.requests[0]))
	return os.NewSyscallError("write", err)
}

func putLookup(h *request, seq uint32, s *Socket) {
	binary.NativeEndian.PutUint32(h[:], uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], seq)
	putRequest(h[nlmsghdrLen:], s)
}

// receive takes the answers by their sequence numbers; others are leftovers. What
// stays without one keeps its error.
func (l *lookup) receive(dst []Socket, errs []error) error {
	first := l.seq - uint32(len(dst)) + 1
	for left := len(dst); left > 0; {
		n, err := call(unix.SYS_RECVMMSG, l.fd, unsafe.Pointer(&l.messages), left)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.ENOBUFS: // an answer was lost for want of room, which reading on makes
			continue
		default:
			return os.NewSyscallError("recvmmsg", err)
		}
		for i := range n {
			b := l.replies[i][:l.messages[i].n]
			if len(b) < nlmsghdrLen {
				continue
			}
			if at := binary.NativeEndian.Uint32(b[8:]) - first; at < uint32(len(dst)) {
				errs[at] = read(b, &dst[at])
				left--
			}
		}
	}
	return nil
}

// call is a system call behind the back of Go's scheduler, which takes every one
// for one that may block: it wakes its monitor thread for the first one after a
// rest, and for a reading every 10 ms that costs more than the reading. These take
// some µs a socket.
func call(trap uintptr, fd int, p unsafe.Pointer, n int) (int, error) {
	for {
		got, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(p), uintptr(n), 0, 0, 0)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// read decodes the answer for one socket.
func read(b []byte, dst *Socket) error {
	data, err := answer(b)
	if errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	if err == nil {
		var got flow.Flow
		if got, err = decodeFlow(data); err == nil && got != dst.Flow {
			// A connection that is gone is answered by the listener on its port.
			return ErrGone
		}
	}
	if err == nil {
		err = decode(data, dst)
	}
	if err != nil {
		return fmt.Errorf("look up socket %s: %w", dst.Flow, err)
	}
	return nil
}

// answer returns the payload of a reply to one request, or the error in it.
func answer(b []byte) ([]byte, error) {
	if len(b) < nlmsghdrLen {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < nlmsghdrLen || n > len(b) {
		return nil, fmt.Errorf("message of %d bytes in a datagram of %d", n, len(b))
	}
	data := b[nlmsghdrLen:n]
	switch typ := binary.NativeEndian.Uint16(b[4:]); {
	case typ == unix.NLMSG_ERROR && len(data) >= 4:
		return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
	case typ != unix.SOCK_DIAG_BY_FAMILY:
		return nil, fmt.Errorf("message of type %d", typ)
	}
	return data, nil
}
