package fault

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
)

// Hook is where packets are dropped.
type Hook int

// Forward drops what the namespace forwards: it is a router between the ends.
const Forward Hook = iota

// Config says what is to be broken, and where.
type Config struct {
	NS        *netns.NS            // where the packets pass; must stay open until Undo
	Ports     flow.Ports           // at least one
	Hook      Hook                 // zero is Forward
	Conntrack *middlebox.Conntrack // of the same namespace and ports; only Forget needs it
}

// Fault is a broken path. Its methods may be called concurrently.
type Fault struct {
	cfg   Config
	inode uint64

	mu       sync.Mutex
	table    *table
	rules    []rule // all that were ever in force, in order
	steps    []Step
	counters []Counter // as read last
	read     time.Time // when; zero: not yet
	undone   bool
}

// Open makes an empty table in the namespace, by the name halfopen-PID-N. No
// packet is touched yet. It needs CAP_NET_ADMIN there, and returns ErrNoOwner on
// a kernel before 5.12.
func Open(cfg Config) (*Fault, error) {
	if len(cfg.Ports) == 0 {
		return nil, errors.New("open fault: no port is given")
	}
	if cfg.Hook != Forward {
		return nil, fmt.Errorf("open fault: hook %d is not known", cfg.Hook)
	}
	inode, err := cfg.NS.Inode()
	if err != nil {
		return nil, fmt.Errorf("open fault: %w", err)
	}
	t, err := openTable(cfg.NS, fmt.Sprintf("halfopen-%d-%d", os.Getpid(), tables.Add(1)))
	if err != nil {
		return nil, fmt.Errorf("open fault: %w", err)
	}
	return &Fault{cfg: cfg, inode: inode, table: t}, nil
}

// Counters reads what each rule has dropped, those of former steps included, in
// the order in which they came into force. After Undo it returns the last values.
func (f *Fault) Counters() ([]Counter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.readCounters()
	return slices.Clone(f.counters), err
}

func (f *Fault) readCounters() error {
	if f.undone {
		return nil
	}
	objs, err := f.table.counters()
	if err != nil {
		return err
	}
	var counters []Counter
	for _, r := range f.rules {
		c, ok := objs[r.counter()]
		if !ok {
			return fmt.Errorf("table %q has no counter %q", f.table.Name, r.counter())
		}
		counters = append(counters, Counter{
			Rule: r.text(f.table.Name), Direction: r.direction, Step: r.step, Packets: c.Packets, Bytes: c.Bytes,
		})
	}
	f.counters, f.read = counters, time.Now().UTC()
	return nil
}

// done notes a step that the kernel acknowledged.
func (f *Fault) done(step Step, rules []rule) Step {
	for _, r := range rules {
		step.Rules = append(step.Rules, r.text(f.table.Name))
	}
	f.rules = append(f.rules, rules...)
	f.steps = append(f.steps, step)
	return step
}

// Undo lets all packets pass again, reads the counters for the last time and
// removes the table. Called again, it does nothing. After an error the table is
// gone all the same.
func (f *Fault) Undo() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone {
		return nil
	}
	step, err := f.table.transact(StepUndo, replacement{chain: f.table.forward}, replacement{chain: f.table.input})
	if err == nil {
		f.done(step, nil)
		err = f.readCounters()
	}
	f.undone = true
	closed, closeErr := moment(StepUndo, "kernel removed the table with its socket", f.table.conn.CloseLasting)
	if f.steps == nil || f.steps[len(f.steps)-1].Name != StepUndo {
		f.done(closed, nil)
	}
	if err = errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("undo fault: %w", err)
	}
	return nil
}

// Close is Undo.
func (f *Fault) Close() error { return f.Undo() }

// Window returns the story so far. Method is how the user calls the fault.
func (f *Fault) Window(method string) Window {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := Window{
		Method: method, Table: "inet " + f.table.Name, Netns: f.inode, Ports: f.cfg.Ports,
		Setup: f.table.setup(),
	}
	if err := f.readCounters(); err != nil {
		w.Error = err.Error()
	}
	w.Steps, w.Counters, w.Read = slices.Clone(f.steps), slices.Clone(f.counters), f.read
	return w
}
