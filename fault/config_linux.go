package fault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
)

// Hook is where packets are met.
type Hook string

// The hooks.
const (
	// HookForward meets what the namespace forwards: it is a router, or the host
	// of containers. Docker's DOCKER-USER chain hangs here too.
	HookForward Hook = "forward"
	// HookOutput meets what programs of the namespace send; forwarded packets,
	// those of containers among them, do not pass here. The sender's kernel is
	// told of each drop (EPERM), so its sockets look otherwise than when packets
	// are lost on the way: net/ipv4/tcp_output.c, tcp_write_xmit.
	HookOutput Hook = "output"
	// HookLocal is HookOutput, and what programs of the namespace receive.
	HookLocal Hook = "local"
	// HookInterface meets what goes in and out of Config.Interface, forwarded or
	// not. What goes out vanishes without the sender's kernel being told.
	HookInterface Hook = "interface"
	// HookProxy meets what a proxy of this process sends and receives, to which new
	// connections are led: those that the namespace forwards or receives, and those
	// of its own programs. It is that of the methods with a proxy.
	HookProxy Hook = "proxy"
)

// Hooks are those that may be chosen.
func Hooks() []Hook { return []Hook{HookForward, HookOutput, HookLocal, HookInterface} }

// Ways is which packets of a connection are met.
type Ways string

// Packets to the port, from the port, or both.
const (
	Out  Ways = "out"
	In   Ways = "in"
	Both Ways = "both"
)

func (w Ways) directions() []Direction {
	switch w {
	case Out:
		return []Direction{Toward}
	case In:
		return []Direction{From}
	}
	return []Direction{Toward, From}
}

// Config says what is to be broken, and where.
type Config struct {
	NS     *netns.NS // where the packets pass; must stay open until Undo
	Method Method
	Hook   Hook // empty: the method's own
	Ways   Ways // empty: the method's own

	// Ports or Flow say which packets; Everything is needed where neither is
	// given, and means all TCP, on an interface all packets whatever they are.
	// Both are as the hook sees them: after destination NAT.
	Ports      flow.Ports
	Flow       *flow.Flow // one connection: Local is its client
	Everything bool

	// Interface is that of HookInterface; HookLocal and HookOutput are narrowed
	// to it.
	Interface string

	Loss      float64              // share of packets that are met, above 0 to 1; 0 is all
	Idle      time.Duration        // of method e: how long nothing flows; whole seconds
	Conntrack *middlebox.Conntrack // of the same namespace and ports; a method that forgets needs it
	Ledger    *Ledger              // of what the kernel would keep; nil where the namespace goes with us
}

// lossSteps is how finely Loss is told apart.
const lossSteps = 10_000

func (c *Config) complete() error {
	if c.Hook == "" {
		c.Hook = c.Method.Hook
	}
	if c.Ways == "" {
		c.Ways = c.Method.Ways
	}
	if c.Loss == 0 {
		c.Loss = 1
	}
	switch {
	case c.Method.Name == "":
		return errors.New("no method is given")
	case c.Method.proxied != (c.Hook == HookProxy):
		return fmt.Errorf("method %s on hook %s: a proxy has its own", c.Method.Name, c.Hook)
	case c.Method.proxied && (len(c.Ports) == 0 || c.Loss != 1 || c.Ways != Both || c.Interface != ""):
		return fmt.Errorf("method %s: its proxy is for all new connections to a port, as a whole", c.Method.Name)
	case len(c.Ports) == 0 && c.Flow == nil && !c.Everything:
		return errors.New("no port and no connection is given")
	case c.Everything && c.Method.forget:
		return fmt.Errorf("method %s forgets connections by their port: none is given", c.Method.Name)
	case c.Hook == HookInterface && c.Interface == "":
		return errors.New("no interface is given")
	case c.Hook == HookInterface && c.Method.forget:
		return fmt.Errorf("method %s does not work on an interface: connections are not tracked there", c.Method.Name)
	case c.Hook == HookInterface && c.Method.does.text != "":
		return fmt.Errorf("method %s does not work on an interface: packets are only lost there", c.Method.Name)
	case c.Hook == HookForward && c.Interface != "":
		return errors.New("an interface is given, for packets that are forwarded from one to another")
	case c.Loss < 1./lossSteps || c.Loss > 1:
		return fmt.Errorf("loss of %g: want a share from %g to 1", c.Loss, 1./lossSteps)
	case c.Method.forget && c.Conntrack == nil:
		return fmt.Errorf("method %s forgets connections: no conntrack is given", c.Method.Name)
	case (c.Method.first == StepExpire || c.Method.first == StepWindow) && c.Loss != 1:
		return fmt.Errorf("method %s loses no packets by chance", c.Method.Name)
	case c.Method.first == StepExpire && (c.Idle < time.Second || c.Idle%time.Second != 0):
		return fmt.Errorf("idle time %s: want whole seconds, at least one", c.Idle)
	}
	if c.Hook == HookProxy || slices.Contains(Hooks(), c.Hook) {
		return nil
	}
	return fmt.Errorf("hook %q is not known: want one of %v", c.Hook, Hooks())
}
