package netns

import "github.com/mdlayher/netlink"

// Netlink opens a netlink socket of the given family (NETLINK_SOCK_DIAG,
// NETLINK_NETFILTER) inside the namespace, where it stays; nil is the caller's
// own.
//
// It does not pass a descriptor in netlink.Config.NetNS: the library then wants
// its thread back in the namespace it came from, which an ordinary user who is
// root in a user namespace of his own may not enter.
func Netlink(n *NS, family int, config *netlink.Config) (conn *netlink.Conn, err error) {
	if n == nil {
		return netlink.Dial(family, config)
	}
	err = n.Do(func() (err error) {
		conn, err = netlink.Dial(family, config)
		return err
	})
	return conn, err
}
