package fault

import (
	"fmt"
	"slices"
	"strings"
)

// Method is a way to break a path, as data. It has two steps: at first it meets
// every packet that the Config names, and then only the connections of before,
// while new ones pass. One with a proxy has a step ahead of them.
type Method struct {
	Name string // as users spell it
	What string // in one line

	Hook Hook // where its rules stand, if nothing else is asked for
	Ways Ways // which packets they meet

	first   string // name of the first step
	only    match  // what else must hold for a packet to be met
	does    action // what becomes of it; of none, it is dropped in silence
	proxied bool   // it meets what passes through a proxy of ours
	forget  bool   // conntrack forgets the connections of before; otherwise the second step names them
}

// The methods. Sources of what a packet meets: [Hook].
var (
	Local = Method{
		Name: "a", What: "local drop: the sender's own host drops what it sends (OUTPUT)",
		Hook: HookOutput, Ways: Out, first: StepDrop,
	}
	Link = Method{
		Name: "b", What: "loss on an interface, in silence, both ways",
		Hook: HookInterface, Ways: Both, first: StepDrop,
	}
	Transient = Method{
		Name: "c", What: "transient: cut both ways, then the connections of before are forgotten",
		Hook: HookForward, Ways: Both, first: StepDrop, forget: true,
	}
	Silent = Method{
		Name: "d", What: "silent proxy: new connections pass through one of ours; then it acknowledges on, and its way onward is cut",
		Hook: HookProxy, Ways: Both, first: StepDrop, proxied: true,
	}
	Idle = Method{
		Name: "e", What: "idle expiry: connections are forgotten once nothing flows",
		Hook: HookForward, Ways: Both, first: StepExpire, only: forgotten, forget: true,
	}
	Ack0 = Method{
		Name: "f-ack0", What: "new connections pass through a proxy of ours; then it passes nothing on, and tells clients ACK 0 every 5s",
		Hook: HookProxy, Ways: Both, first: StepAck0, proxied: true,
	}
	LostFIN = Method{
		Name: "f-fin", What: "FIN and RST from the port are dropped: the end of the receiver goes unnoticed",
		Hook: HookForward, Ways: In, first: StepFIN, only: finOrReset,
	}
	Reset = Method{
		Name: "f-rst", What: "a third party answers data with RST; handshakes pass",
		Hook: HookForward, Ways: Both, first: StepReset, only: pushed, does: refuse,
	}
	ZeroWindow = Method{
		Name: "f-zero-window", What: "what comes from the port says that the receiver has no room; nothing is lost",
		Hook: HookForward, Ways: In, first: StepWindow, only: acknowledging, does: shut,
	}
)

// Methods are all of them, in the order of their names.
func Methods() []Method {
	return []Method{Local, Link, Transient, Silent, Idle, Ack0, LostFIN, Reset, ZeroWindow}
}

// MethodNamed finds a method; the error lists what there is.
func MethodNamed(name string) (Method, error) {
	all := Methods()
	if i := slices.IndexFunc(all, func(m Method) bool { return m.Name == name }); i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	return Method{}, fmt.Errorf("method %q: want %s", name, strings.Join(names, ", "))
}

// Forgets reports whether the method makes conntrack forget connections; it
// needs Config.Conntrack then.
func (m Method) Forgets() bool { return m.forget }

// Proxied reports whether the method has a proxy: its first step is
// Fault.Redirect then.
func (m Method) Proxied() bool { return m.proxied }

// Cuts reports whether packets of the connections that are meant go astray. A proxy
// loses its own, and a window of zero loses none.
func (m Method) Cuts() bool { return !m.proxied && m.first != StepWindow }

// second is the name of the second step.
func (m Method) second() string {
	if m.forget {
		return StepForget
	}
	return StepHold
}
