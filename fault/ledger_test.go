package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"halfopen/netns"
)

// ledgerAt is a ledger in a folder of the test's own.
func ledgerAt(t *testing.T, dir string) *Ledger {
	t.Helper()
	return &Ledger{[]string{filepath.Join(dir, "notes")}}
}

func (l *Ledger) files(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(l.dirs[0])
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What a process that lives has changed is let be; what it has undone is
// forgotten.
func TestSweepSparesTheLiving(t *testing.T) {
	p := newPath(t)
	was := sysctl(t, p.router)
	l := ledgerAt(t, t.TempDir())
	f := p.open(Config{NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack, Idle: 7 * time.Second, Ledger: l})
	cut(t, f)
	if files := l.files(t); len(files) != 1 {
		t.Fatalf("files %v, want one note", files)
	}
	swept, err := l.Sweep()
	if err != nil || len(swept) != 0 || sysctl(t, p.router) != "7" || len(l.files(t)) != 1 {
		t.Errorf("swept %v, %v; the timeout is %s", swept, err, sysctl(t, p.router))
	}
	p.must(f.Undo())
	if files := l.files(t); len(files) != 0 || sysctl(t, p.router) != was {
		t.Errorf("after undo: files %v, the timeout is %s", files, sysctl(t, p.router))
	}
}

// leave writes a note as a killed process leaves it.
func leave(t *testing.T, l *Ledger, ns *netns.NS, n note) string {
	t.Helper()
	done, err := l.note(ns, n)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.dirs[0], l.files(t)[0])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	done()
	if _, err := l.folder(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSweep(t *testing.T) {
	p := newPath(t)
	was := sysctl(t, p.router)
	l := ledgerAt(t, t.TempDir())
	n := note{Sysctl: idleKey, Was: was, Set: "7"}

	leave(t, l, p.router, n) // and killed before it was set
	if swept, err := l.Sweep(); err != nil || len(swept) != 0 || sysctl(t, p.router) != was {
		t.Errorf("not yet set: swept %v, %v", swept, err)
	}
	leave(t, l, p.router, n)
	p.must(p.router.SetSysctl(idleKey, "7"))
	if swept, err := l.Sweep(); err != nil || len(swept) != 1 || sysctl(t, p.router) != was {
		t.Errorf("set: swept %v, %v; the timeout is %s", swept, err, sysctl(t, p.router))
	}
	path := leave(t, l, p.router, n) // by another boot
	p.must(p.router.SetSysctl(idleKey, "7"))
	text, err := os.ReadFile(path)
	p.must(err)
	p.must(os.WriteFile(path, []byte(strings.Replace(string(text), bootID(), "another", 1)), 0o600))
	if swept, err := l.Sweep(); err != nil || len(swept) != 0 || sysctl(t, p.router) != "7" {
		t.Errorf("another boot: swept %v, %v; the timeout is %s", swept, err, sysctl(t, p.router))
	}
	gone, err := netns.New()
	p.must(err)
	path = leave(t, l, gone, n)
	p.must(gone.Close())
	text, err = os.ReadFile(path)
	p.must(err)
	p.must(os.WriteFile(path, []byte(strings.Replace(string(text), `"netns":`, `"netns":9`, 1)), 0o600))
	if swept, err := l.Sweep(); err != nil || len(swept) != 0 {
		t.Errorf("no such namespace: swept %v, %v", swept, err)
	}
	if files := l.files(t); len(files) != 0 {
		t.Errorf("files %v are left", files)
	}
}

// What nobody of ours has written is not done, and named.
func TestSweepBelievesLittle(t *testing.T) {
	l := ledgerAt(t, t.TempDir())
	dir, err := l.folder()
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"note-1.json": `{"netns":1,"sysctl":"kernel.core_pattern","was":"|/tmp/x","set":"core"}`,
		"note-2.json": `{"netns":1,"sysctl":"` + idleKey + `","was":"1; rm","set":"2"}`,
		"note-3.json": `not JSON`,
		"note-4.json": ``,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "note-5.json")); err != nil {
		t.Fatal(err)
	}
	swept, err := l.Sweep()
	if len(swept) != 0 || err == nil {
		t.Fatalf("swept %v, %v", swept, err)
	}
	for _, name := range []string{"note-1", "note-2", "note-3", "note-4"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if files := l.files(t); len(files) != 5 {
		t.Errorf("files %v", files)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{open, link, filepath.Join(dir, "no", "such")} {
		l := Ledger{[]string{bad}}
		if got, err := l.folder(); err == nil {
			t.Errorf("%s is taken", got)
		}
	}
	good := Ledger{[]string{open, filepath.Join(dir, "own")}}
	if got, err := good.folder(); err != nil || got != good.dirs[1] {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add([]byte(`{"boot":"b","netns":1,"sysctl":"` + idleKey + `","was":"432000","set":"7"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, err := parseNote(text); err == nil && (sysctls[n.Sysctl] == nil || strings.Trim(n.Was+n.Set, "0123456789") != "") {
			t.Errorf("%+v is taken", n)
		}
	})
}
