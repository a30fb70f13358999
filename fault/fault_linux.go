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
)

// ErrOrder is returned by a step that comes too early, too late or twice.
var ErrOrder = errors.New("not possible now")

// Fault is a broken path. Its methods may be called concurrently.
type Fault struct {
	plan  plan
	inode uint64

	mu       sync.Mutex
	table    *table
	proxy    *throughProxy     // nil: the method has none
	idle     *setting          // of method e, while it is in force
	before   []middlebox.Entry // of method e, at the first step
	rules    []rule            // all that were ever in force, in order
	steps    []Step
	counters map[string]Counter // as read last, by name
	read     time.Time          // when; zero: not yet
	undone   bool
}

// Open makes an empty table in the namespace, by the name halfopen-PID-N. No
// packet is touched yet. It needs CAP_NET_ADMIN there, and returns ErrNoOwner on
// a kernel before 5.12.
func Open(cfg Config) (*Fault, error) {
	p, err := newPlan(cfg)
	if err != nil {
		return nil, fmt.Errorf("open fault: %w", err)
	}
	inode, err := cfg.NS.Inode()
	if err != nil {
		return nil, fmt.Errorf("open fault: %w", err)
	}
	var through *throughProxy
	if p.Method.proxied {
		if through, err = openProxy(cfg.NS, p.Ports); err != nil {
			return nil, fmt.Errorf("open fault: %w", err)
		}
		p.proxy = through.port
	}
	t, err := openTable(cfg.NS, p)
	if err != nil {
		return nil, fmt.Errorf("open fault: %w", errors.Join(err, through.close()))
	}
	return &Fault{plan: p, inode: inode, table: t, proxy: through, counters: map[string]Counter{}}, nil
}

// Script is what a fault would do, as commands of nft(8), with remarks where nft
// has no command. Old is as for Hold. Nothing is done.
func Script(cfg Config, old []flow.Flow) (string, error) {
	p, err := newPlan(cfg)
	if err != nil {
		return "", err
	}
	return p.script(old), nil
}

func newPlan(cfg Config) (plan, error) {
	if err := cfg.complete(); err != nil {
		return plan{}, err
	}
	p := plan{Config: cfg, table: fmt.Sprintf("%s%d-%d", Tables, os.Getpid(), tables.Add(1)), proxy: examplePort}
	if cfg.Method.forget && cfg.Flow != nil {
		entries, err := p.entries()
		if err != nil {
			return plan{}, err
		}
		for _, e := range entries {
			p.replies = append(p.replies, e.Reply.Reverse())
		}
	}
	return p, nil
}

// Hook is where the packets are met.
func (f *Fault) Hook() Hook { return f.plan.Hook }

// lead is how many steps come ahead of the first that meets something.
func (f *Fault) lead() int {
	if f.proxy != nil {
		return 1
	}
	return 0
}

// Cut takes the first step of the method, or that after Redirect.
func (f *Fault) Cut() (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone || len(f.steps) != f.lead() {
		return Step{}, fmt.Errorf("cut the path: %w: it is the first step", ErrOrder)
	}
	step, err := f.cut()
	if err != nil {
		return Step{}, fmt.Errorf("cut the path: %w", err)
	}
	return step, nil
}

func (f *Fault) cut() (step Step, err error) {
	var changed string
	if f.plan.Method.first == StepExpire {
		if f.before, err = f.plan.entries(); err != nil {
			return Step{}, err
		}
		if f.idle, err = f.plan.expire(); err != nil {
			return Step{}, err
		}
		changed = f.idle.command()
	}
	return f.take(f.plan.Method.first, f.plan.first(), func(s *Step) { s.Changed = changed })
}

// Hold takes the second step of the method: new connections pass again, those of
// before don't. A method that forgets finds those by itself; to others they are
// named, each with the port's end as Remote, as the hook sees it.
func (f *Fault) Hold(old []flow.Flow) (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.second("hold the connections of before"); err != nil {
		return Step{}, err
	}
	step, err := f.hold(old)
	if err != nil {
		return Step{}, fmt.Errorf("hold the connections of before: %w", err)
	}
	return step, nil
}

func (f *Fault) hold(old []flow.Flow) (step Step, err error) {
	if !f.plan.Method.forget {
		return f.take(StepHold, f.plan.second(old), nil)
	}
	var deleted []middlebox.Entry
	if f.idle != nil {
		deleted, err = f.expired()
	} else {
		deleted, err = f.plan.forget()
	}
	if err != nil {
		return Step{}, err
	}
	return f.take(StepForget, f.plan.second(nil), func(s *Step) { s.Deleted = deleted })
}

// Pass lets everything pass again. The counters stay, and so does the table.
func (f *Fault) Pass() (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.second("let everything pass"); err != nil {
		return Step{}, err
	}
	return f.take(StepPass, nil, nil)
}

func (f *Fault) second(what string) error {
	if f.undone || len(f.steps) != f.lead()+1 {
		return fmt.Errorf("%s: %w: it is the second step", what, ErrOrder)
	}
	return nil
}

// take makes rules the only ones and notes the step, which the kernel has
// acknowledged then.
func (f *Fault) take(name string, rules []rule, complete func(*Step)) (Step, error) {
	also := func() {}
	if name == StepAck0 {
		also = f.proxy.Hold
	}
	step, err := f.table.replace(name, rules, also)
	if err != nil {
		return Step{}, err
	}
	if complete != nil {
		complete(&step)
	}
	for _, r := range rules {
		step.Rules = append(step.Rules, r.text(f.plan.target()))
	}
	f.rules = append(f.rules, rules...)
	f.steps = append(f.steps, step)
	return step, nil
}

// Undo lets all packets pass again, puts back what else was changed, reads the
// counters for the last time and removes the table. Called again, it does
// nothing. After an error the table is gone all the same.
func (f *Fault) Undo() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone {
		return nil
	}
	_, err := f.take(StepUndo, nil, nil)
	taken := err == nil
	err = errors.Join(err, f.idle.restore())
	f.idle = nil
	err = errors.Join(err, f.proxy.close()) // while they are translated still, so that the ends hear of it
	if taken {
		err = errors.Join(err, f.readCounters())
	}
	f.undone = true
	closed, closeErr := moment(StepUndo, "kernel removed the table with its socket", f.table.conn.CloseLasting)
	if !taken {
		f.steps = append(f.steps, closed)
	}
	if err = errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("undo fault: %w", err)
	}
	return nil
}

// Close is Undo.
func (f *Fault) Close() error { return f.Undo() }

// Table is the family and name of its nf_tables table, as in Window.
func (f *Fault) Table() string { return f.plan.target() }

// Window returns the story so far. Name is how the user calls the fault.
func (f *Fault) Window(name string) Window {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := Window{
		Method: name, Table: f.Table(), Netns: f.inode, Ports: f.plan.Ports, Setup: f.plan.setup(),
	}
	if err := f.readCounters(); err != nil {
		w.Error = err.Error()
	}
	w.Steps, w.Counters, w.Read = slices.Clone(f.steps), f.list(), f.read
	if state, ok := f.Proxied(); ok {
		w.Withheld = &Withheld{Acks: state.Acks, Toward: state.Toward, From: state.From}
	}
	return w
}
