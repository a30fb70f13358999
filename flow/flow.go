// Package flow names TCP connections and ports: the 4-tuple as one end sees it,
// sets of watched ports, and the spelling of a port in the kernel's tables.
package flow

import (
	"fmt"
	"net/netip"
)

// Flow is a TCP connection as one of its ends sees it. Addresses are unmapped:
// a Java receiver that listens on :: holds ::ffff:10.0.0.1, its client holds
// 10.0.0.1, and both must compare equal (RFC 4291, section 2.5.5.2).
type Flow struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
}

// New returns the flow between two endpoints, IPv4-mapped addresses unmapped.
func New(local, remote netip.AddrPort) Flow {
	return Flow{Local: unmap(local), Remote: unmap(remote)}
}

// Reverse returns the same connection as its other end sees it, where no
// address translation stands between the two.
func (f Flow) Reverse() Flow { return Flow{Local: f.Remote, Remote: f.Local} }

// String gives "local -> remote".
func (f Flow) String() string { return fmt.Sprintf("%s -> %s", f.Local, f.Remote) }

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
