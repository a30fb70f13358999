package sockstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/netns"
)

const nlmsghdrLen = 16 // struct nlmsghdr (include/uapi/linux/netlink.h)

// ErrGone: no socket has that flow and cookie any more. It was closed, or it
// became a minisocket, whose cookie is another.
var ErrGone = errors.New("socket is gone")

// Lookup reads one socket anew, found by its flow and cookie, into dst; *dst.Info
// is written in place, so a reading that is to be kept must be copied first; an
// error leaves dst as it was. A dst without cookie (from /proc) matches whatever socket has the flow, and gets
// its cookie. The error is ErrGone when there is none. Listeners that share one
// address (SO_REUSEPORT) can't be told apart: of these one is found, the others
// are ErrGone.
//
// It does not use mdlayher/netlink's Execute, which allocates a buffer, a slice
// of messages and a request a call: the look-up is for following a connection a
// hundred times a second.
func (d *Diag) Lookup(dst *Socket) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	seq := d.putLookup(dst)
	if err := d.exchange(); err != nil {
		return fmt.Errorf("look up socket: %w", err)
	}
	data, err := answer(d.reply[:d.n], seq)
	if errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("look up socket %s: %w", dst.Flow, err)
	}
	got, err := decodeFlow(data)
	if err == nil && got != dst.Flow {
		// A connection that is gone is answered by the listener on its port.
		return ErrGone
	}
	if err == nil {
		err = decode(data, dst)
	}
	if err != nil {
		return fmt.Errorf("look up socket %s: %w", dst.Flow, err)
	}
	return nil
}

func (d *Diag) putLookup(s *Socket) (seq uint32) {
	h := d.request[:]
	seq = binary.NativeEndian.Uint32(h[8:]) + 1
	binary.NativeEndian.PutUint32(h, uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], seq)
	putRequest(h[nlmsghdrLen:], s)
	return seq
}

// openLookup opens a netlink socket that the runtime's poller does not know: it
// would wake a thread for every answer, which nearly doubles a look-up's time.
// The kernel answers within the call of write(2), so there is nothing to wait
// for: the socket does not block, and no answer is an error at once.
func openLookup(ns *netns.NS) (fd int, err error) {
	open := func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
		return os.NewSyscallError("socket", err)
	}
	if ns == nil {
		err = open()
	} else {
		err = ns.Do(open)
	}
	return fd, err
}

// errSilent is what a look-up ends with instead of waiting.
var errSilent = errors.New("the kernel did not answer")

// exchange sends the request and takes the answer that carries its sequence
// number; others would be leftovers.
func (d *Diag) exchange() (err error) {
	d.n = 0
	if _, err = call(unix.SYS_WRITE, d.fd, d.request[:]); err != nil {
		return os.NewSyscallError("write", err)
	}
	for {
		switch d.n, err = call(unix.SYS_READ, d.fd, d.reply[:]); {
		case err == unix.EAGAIN:
			return errSilent
		case err == unix.ENOBUFS: // an answer was lost for want of room, which reading on makes
		case err != nil:
			return os.NewSyscallError("read", err)
		case d.n >= nlmsghdrLen && [4]byte(d.reply[8:]) == [4]byte(d.request[8:]):
			return nil
		}
	}
}

// call is read(2) or write(2) behind the back of Go's scheduler, which takes
// every system call for one that may block: it wakes its monitor thread for the
// first one after a rest, and for a reading every 10 ms that costs more than the
// reading. These take some 2 µs.
func call(trap uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// answer returns the payload of a reply to one request, or the error in it.
func answer(b []byte, seq uint32) ([]byte, error) {
	if len(b) < nlmsghdrLen {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < nlmsghdrLen || n > len(b) {
		return nil, fmt.Errorf("message of %d bytes in a datagram of %d", n, len(b))
	}
	data := b[nlmsghdrLen:n]
	switch typ := binary.NativeEndian.Uint16(b[4:]); {
	case binary.NativeEndian.Uint32(b[8:]) != seq:
		return nil, errors.New("answer to another request")
	case typ == unix.NLMSG_ERROR && len(data) >= 4:
		return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
	case typ != unix.SOCK_DIAG_BY_FAMILY:
		return nil, fmt.Errorf("message of type %d", typ)
	}
	return data, nil
}
