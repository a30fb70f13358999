package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// originalDst is SO_ORIGINAL_DST (include/uapi/linux/netfilter_ipv4.h) and
// IP6T_SO_ORIGINAL_DST (netfilter_ipv6/ip6_tables.h).
const originalDst = 80

// Original is where a connection that was redirected here was to go, as conntrack
// knows it. Of one that was not redirected it is the address it came to. It is an error
// where conntrack does not know the connection, or its socket is one of MPTCP.
func Original(c *net.TCPConn) (to netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return to, err
	}
	four := c.LocalAddr().(*net.TCPAddr).IP.To4() != nil
	ctl := raw.Control(func(fd uintptr) {
		if four { // x/sys has no call for a sockaddr_in: a struct that is a little longer takes it
			var sa *unix.IPv6Mreq
			if sa, err = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, originalDst); err == nil {
				to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa.Multiaddr[4:8])), binary.BigEndian.Uint16(sa.Multiaddr[2:4]))
			}
			return
		}
		var sa *unix.IPv6MTUInfo
		if sa, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, originalDst); err == nil {
			port := binary.NativeEndian.AppendUint16(nil, sa.Addr.Port)
			to = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr.Addr), binary.BigEndian.Uint16(port))
		}
	})
	if ctl != nil {
		err = ctl
	}
	if err != nil {
		return to, fmt.Errorf("ask where %s was to go: %w", c.RemoteAddr(), err)
	}
	return to, nil
}

// Marked gives a socket a mark before it connects (SO_MARK, socket(7)). It takes
// CAP_NET_ADMIN.
func Marked(mark uint32) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)) }); ctl != nil {
			return ctl
		}
		if err != nil {
			return fmt.Errorf("mark a connection of the proxy's: %w", err)
		}
		return nil
	}
}
