package verdict

import (
	"fmt"

	"halfopen/flow"
)

const (
	lookLonger = `watch it for longer: "halfopen record --for 1m", with the same options`
	nextTry    = `run it again; if it stays so, "halfopen doctor" names what can be read here`
	nextTime   = "give it longer (--timeout), or less to look at: --pid, --container, --netns"
)

// next is what to do about a connection, nil where there is none.
func next(h Health, class Class, f *flow.Flow) string {
	switch {
	case h == Untold:
		return lookLonger
	case h != Stuck:
		return ""
	case class == NotConnected && f != nil:
		return fmt.Sprintf("see that %s is up, and what between here and there drops SYNs", f.Remote)
	case class == NotConnected:
		return "see the shipper's log for why it does not connect; " + lookLonger
	}
	switch class {
	case HalfOpen, IdleHalfOpen:
		return fmt.Sprintf(`keep evidence first: "halfopen record --for 1m", with the same options; then "ss -K src %s dst %s", as root and in its network namespace, ends it without a restart, and the shipper connects anew; look for what forgot the flow: NAT, load balancer, firewall`, f.Local, f.Remote)
	case ReceiverBlocked:
		return "look at the receiver: its queue, its outputs, its disk; a new connection would be blocked too"
	case SilentPeer:
		return fmt.Sprintf("look at what answers at %s: a proxy or load balancer whose backend is gone", f.Remote)
	case ZeroWindow:
		return fmt.Sprintf("look at the receiver at %s: it has stopped reading", f.Remote)
	case LocalDrop:
		return `look at this host's own rules: "nft list ruleset", "iptables -S OUTPUT"`
	case CloseWait:
		return "see the shipper's log; it does not close what the receiver has closed, and only a restart does it instead"
	}
	return "look at the shipper's log and stacks; " + lookLonger
}
