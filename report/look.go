package report

import (
	"bytes"
	"fmt"
	"time"

	"halfopen/sockstate"
	"halfopen/verdict"
)

// Look is the sockets of a namespace by port and state, the listeners' queues
// and the kernel's counters; with two looks, how each changed between them.
func Look(first, last *verdict.Look, sys *sockstate.Sysctls) []byte {
	var b bytes.Buffer
	over := ""
	if first != nil {
		over = " in " + last.Time.Sub(first.Time).Round(100*time.Millisecond).String()
	}
	for i, c := range last.Ports {
		fmt.Fprintf(&b, "port %d (%s in /proc/net/tcp)\n", c.Port, c.Hex)
		for _, l := range c.Listeners {
			fmt.Fprintf(&b, "  listener %s: %s\n", l.Addr, queue(l))
		}
		if len(c.Listeners) == 0 {
			b.WriteString("  nobody listens here\n")
		}
		states(&b, "connections to it, as the server", over, verdict.StateChanges(first, last, i, func(c sockstate.Census) map[sockstate.State]int { return c.Server }))
		states(&b, "connections from here, as a client", over, verdict.StateChanges(first, last, i, func(c sockstate.Census) map[sockstate.State]int { return c.Client }))
		if c.Orphans > 0 {
			fmt.Fprintf(&b, "  of these held by no process: %d\n", c.Orphans)
		}
		b.WriteByte('\n')
	}
	if changes := verdict.CounterChanges(first, last); len(changes) > 0 {
		b.WriteString("kernel, the whole namespace\n")
		for _, c := range changes {
			fmt.Fprintf(&b, "  %-22s %8d%s\n", c.Name, c.Now, grew(c, over))
		}
		b.WriteByte('\n')
	}
	if sys != nil {
		b.WriteString("limits\n")
		for _, l := range []struct {
			name string
			v    *int
		}{
			{"somaxconn", sys.Somaxconn}, {"tcp_max_syn_backlog", sys.MaxSynBacklog}, {"tcp_syncookies", sys.Syncookies},
			{"tcp_retries2", sys.Retries2}, {"tcp_syn_retries", sys.SynRetries}, {"tcp_keepalive_probes", sys.KeepaliveProbes},
		} {
			if l.v != nil {
				fmt.Fprintf(&b, "  %-22s %8d\n", l.name, *l.v)
			}
		}
	}
	return b.Bytes()
}

func states(b *bytes.Buffer, title, over string, changes []verdict.Change) {
	if len(changes) == 0 {
		return
	}
	fmt.Fprintf(b, "  %s\n", title)
	for _, c := range changes {
		fmt.Fprintf(b, "    %-20s %8d%s\n", c.Name, c.Now, grew(c, over))
	}
}

func grew(c verdict.Change, over string) string {
	if c.By == nil || *c.By == 0 {
		return ""
	}
	return fmt.Sprintf("  %+d%s", *c.By, over)
}

func queue(l sockstate.Listener) string {
	if l.Backlog == nil {
		return fmt.Sprintf("%d wait to be accepted", l.Waiting)
	}
	s := fmt.Sprintf("%d of %d wait to be accepted", l.Waiting, *l.Backlog)
	if l.Full() {
		s += ", FULL: the kernel drops new connections"
	}
	return s
}
