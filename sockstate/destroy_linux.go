package sockstate

import (
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

const destroyTimeout = 5 * time.Second

// Destroy ends one connection as SOCK_DESTROY does (net/ipv4/tcp.c, tcp_abort):
// the owner's blocked read gets ECONNABORTED, its next write EPIPE, and a RST
// goes to the peer. The socket is found by flow and cookie, so a connection that
// has meanwhile taken over the 4-tuple is left alone; a reading without a cookie
// is refused for that reason.
//
// The error is ErrGone when there is no such socket. It wraps fs.ErrPermission
// without CAP_NET_ADMIN in the user namespace that owns ns, and
// errors.ErrUnsupported where the kernel was built without
// CONFIG_INET_DIAG_DESTROY. A nil ns is the caller's own.
func Destroy(ns *netns.NS, s Socket) error {
	if s.Cookie == 0 {
		return fmt.Errorf("destroy socket %s: it has no cookie; read it by inet_diag, not from /proc", s.Flow)
	}
	conn, err := dial(ns, 0)
	if err != nil {
		return fmt.Errorf("destroy socket %s: %w", s.Flow, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(destroyTimeout)); err != nil {
		return fmt.Errorf("destroy socket %s: %w", s.Flow, err)
	}
	data := make([]byte, reqLen)
	putRequest(data, &s)
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DESTROY, Flags: netlink.Request | netlink.Acknowledge},
		Data:   data,
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return ErrGone
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("destroy socket %s: it takes CAP_NET_ADMIN: run as root, or give the program that capability: %w", s.Flow, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("destroy socket %s: the kernel can't (CONFIG_INET_DIAG_DESTROY is off): %w", s.Flow, err)
	}
	return fmt.Errorf("destroy socket %s: %w", s.Flow, err)
}
