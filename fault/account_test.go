package fault

import (
	"errors"
	"os"
	"testing"

	"halfopen/flow"
	"halfopen/middlebox"
)

// Accounting is on while it is asked for, holds for new entries, and is undone, also
// by the ledger once the process that asked was killed.
func TestAccount(t *testing.T) {
	p := newPath(t)
	l := ledgerAt(t, t.TempDir())
	read := func(key string) string {
		t.Helper()
		v, err := p.router.Sysctl(key)
		p.must(err)
		return v
	}
	keys := []string{acctKey, stampKey, eventsKey}
	was := map[string]string{}
	for _, k := range keys {
		was[k] = read(k)
	}
	if was[acctKey] != "0" {
		t.Fatalf("%s is %s before", acctKey, was[acctKey])
	}
	changed, undo, err := Account(p.router, l)
	p.must(err)
	if len(changed) != len(l.files(t)) || len(changed) == 0 {
		t.Errorf("changed %q, notes %v", changed, l.files(t))
	}
	p.dial()
	table, err := middlebox.OpenConntrack(p.router, flow.NewPorts(5044))
	p.must(err)
	defer table.Close()
	entries, err := table.List()
	if err != nil || len(entries) != 1 || entries[0].OrigBytes == nil || entries[0].Start == nil {
		t.Errorf("entries %+v, %v; want one with bytes and its start", entries, err)
	}
	again, undoAgain, err := Account(p.router, l)
	if err != nil || len(again) != 0 || undoAgain() != nil {
		t.Errorf("switched on again: %q, %v", again, err)
	}
	p.must(undo())
	for _, k := range keys {
		if read(k) != was[k] {
			t.Errorf("%s is %s, was %s", k, read(k), was[k])
		}
	}
	if files := l.files(t); len(files) != 0 {
		t.Errorf("files %v are left", files)
	}
	leave(t, l, p.router, note{Sysctl: acctKey, Was: "0", Set: "1"})
	p.must(p.router.SetSysctl(acctKey, "1"))
	if swept, err := l.Sweep(); err != nil || len(swept) != 1 || read(acctKey) != "0" {
		t.Errorf("swept %v, %v; %s is %s", swept, err, acctKey, read(acctKey))
	}
	if _, err := p.router.Sysctl("net.netfilter.no_such_thing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such sysctl: %v", err)
	}
}
