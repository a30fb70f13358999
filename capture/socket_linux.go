package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/clock"
	"halfopen/flow"
	"halfopen/netns"
)

// Socket is a packet socket of a network namespace, on all its interfaces, those
// that come later among them. One goroutine may read it.
type Socket struct {
	file  *os.File
	buf   []byte
	oob   []byte
	names map[int]string // of interfaces

	deadline     time.Time
	dropped, odd uint64
}

const (
	vnetBytes = 10 // struct virtio_net_hdr, include/uapi/linux/virtio_net.h
	// receiveBytes is what the kernel may keep for us until we read it. A short
	// packet takes some 2 KiB of it.
	receiveBytes = 8 << 20
)

// Open begins to capture. It needs CAP_NET_RAW in the user namespace that the
// network namespace belongs to; the error then is os.ErrPermission. Where nothing
// else on the host had packets stamped, the kernel begins in the background
// (net/core/dev.c, net_enable_timestamp): those of the first milliseconds may carry
// the time at which they were read.
func Open(ns *netns.NS, ports flow.Ports) (*Socket, error) {
	filter, err := program(ports)
	if err != nil {
		return nil, err
	}
	s := &Socket{
		buf: make([]byte, vnetBytes+snapLength), names: map[int]string{},
		oob: make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{})))+unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{})))),
	}
	err = ns.Do(func() error {
		// Protocol 0 receives nothing: there is no packet before the filter.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		if err := setUp(fd, filter); err != nil {
			unix.Close(fd)
			return err
		}
		s.file = os.NewFile(uintptr(fd), "packet socket")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func setUp(fd int, filter []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach packet filter: %w", err)
	}
	for _, o := range []struct {
		level, name int
		what        string
	}{
		{unix.SOL_PACKET, unix.PACKET_AUXDATA, "lengths"},
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, "sizes of segments"},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, "times"},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return fmt.Errorf("ask for the %s of packets: %w", o.what, err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBytes) // as much as net.core.rmem_max lets us
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

// ErrNone is returned where no packet came before the deadline, and none waits.
var ErrNone = errors.New("no packet yet")

// Read waits for a packet until the deadline. What is no whole TCP header is left
// out and counted. Of loopback, which shows each packet twice, one is taken.
func (s *Socket) Read(deadline time.Time) (Packet, error) {
	if !deadline.Equal(s.deadline) {
		if err := s.file.SetReadDeadline(deadline); err != nil {
			return Packet{}, fmt.Errorf("read packet: %w", err)
		}
		s.deadline = deadline
	}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return Packet{}, fmt.Errorf("read packet: %w", err)
	}
	for {
		var n, oobn int
		var from unix.Sockaddr
		var rerr error
		receive := func(fd uintptr) (done bool) {
			n, oobn, _, from, rerr = unix.Recvmsg(int(fd), s.buf, s.oob, 0)
			return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
		}
		err := raw.Read(receive)
		if errors.Is(err, os.ErrDeadlineExceeded) { // it may have passed before the first try, on a busy host
			err = raw.Control(func(fd uintptr) { receive(fd) })
		}
		switch {
		case err != nil:
			return Packet{}, fmt.Errorf("read packet: %w", err)
		case errors.Is(rerr, unix.EAGAIN), errors.Is(rerr, unix.EINTR):
			return Packet{}, ErrNone
		case errors.Is(rerr, unix.EINVAL): // segments joined in a way that struct virtio_net_hdr has no name for
			s.odd++
			continue
		case rerr != nil:
			return Packet{}, fmt.Errorf("read packet: %w", rerr)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n < vnetBytes || link.Hatype == unix.ARPHRD_LOOPBACK && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if p, ok := s.packet(n, oobn, link); ok {
			return p, nil
		}
		s.odd++
	}
}

// packet makes one of what the kernel handed over.
func (s *Socket) packet(n, oobn int, link *unix.SockaddrLinklayer) (p Packet, ok bool) {
	messages, err := unix.ParseSocketControlMessage(s.oob[:oobn])
	if err != nil {
		return p, false
	}
	data := s.buf[vnetBytes:n]
	network := -1
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			p.Length, network = int(aux.Len), int(aux.Net)
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			p.Time = time.Unix(ts.Unix()).UTC()
		}
	}
	if network < 0 || network > len(data) || p.Length < len(data) || p.Time.IsZero() {
		return p, false
	}
	p.Mono = clock.Mono() - time.Since(p.Time)
	header, bytes, err := Decode(data[network:], p.Length-network)
	if err != nil {
		return p, false
	}
	p.Header, p.Raw = header, data[:network+bytes]
	if p.Ethernet = link.Hatype == unix.ARPHRD_ETHER || link.Hatype == unix.ARPHRD_LOOPBACK; !p.Ethernet {
		p.Raw, p.Length = data[network:network+bytes], p.Length-network
	}
	if size := int(binary.NativeEndian.Uint16(s.buf[4:])); size > 0 && p.Payload > 0 {
		p.Segments = (p.Payload + size - 1) / size
	} else {
		p.Segments = 1
	}
	p.Interface = s.name(link.Ifindex)
	switch {
	case link.Hatype == unix.ARPHRD_LOOPBACK:
	case link.Pkttype == unix.PACKET_OUTGOING:
		p.Way = Out
	default:
		p.Way = In
	}
	return p, true
}

// maxNames bounds what is remembered of interfaces that come and go.
const maxNames = 1024

// name asks the namespace that the socket belongs to, once an interface.
func (s *Socket) name(index int) string {
	if name, ok := s.names[index]; ok {
		return name
	}
	if len(s.names) == maxNames {
		clear(s.names)
	}
	name := fmt.Sprintf("if%d", index) // gone meanwhile
	if req, err := unix.NewIfreq(""); err == nil {
		req.SetUint32(uint32(index))
		if raw, err := s.file.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if unix.IoctlIfreq(int(fd), unix.SIOCGIFNAME, req) == nil {
					name = req.Name()
				}
			})
		}
	}
	s.names[index] = name
	return name
}

// Dropped is how many packets the kernel has dropped since Open, because they came
// faster than they were read.
func (s *Socket) Dropped() (uint64, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return s.dropped, err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		stats, e := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if serr = e; e == nil {
			s.dropped += uint64(stats.Drops) // since the last call
		}
	})
	if err = errors.Join(err, serr); err != nil {
		return s.dropped, fmt.Errorf("count dropped packets: %w", err)
	}
	return s.dropped, nil
}

// Odd is how many packets of the ports had no whole TCP header.
func (s *Socket) Odd() uint64 { return s.odd }

// Close ends the capture.
func (s *Socket) Close() error { return s.file.Close() }
