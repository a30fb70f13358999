package fault

import (
	"errors"
	"fmt"
)

// ErrOrder is returned by a method that comes too early, too late or twice.
var ErrOrder = errors.New("not possible now")

// DropBoth drops every forwarded TCP packet to and from the ports, both ways,
// without an answer to anybody. It can be done once, as the first step.
//
// A flow that a flowtable carries passes no forward hook and is not dropped
// (middlebox.Status.Offloaded). Ports are those the forward hook sees: after
// destination NAT.
func (f *Fault) DropBoth() (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone || len(f.steps) > 0 {
		return Step{}, fmt.Errorf("drop packets: %w: it is the first step", ErrOrder)
	}
	rules := bothWays(StepDrop, f.table.forward.Name, f.cfg.Ports, match{})
	step, err := f.table.transact(StepDrop, replacement{f.table.forward, rules})
	if err != nil {
		return Step{}, fmt.Errorf("drop packets: %w", err)
	}
	return f.done(step, rules), nil
}
