package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// Ledger has a note of each change that the kernel would keep if this process
// were killed. A note is written before the change and locked for as long as its
// process lives: one without a lock is still to be undone.
type Ledger struct{ dirs []string } // the first that can be had is written to

// OpenLedger uses the folder /run/halfopen, or one of the user's own below
// $TMPDIR. Both are there only while there are notes.
func OpenLedger() *Ledger {
	return &Ledger{[]string{"/run/halfopen", filepath.Join(os.TempDir(), fmt.Sprintf("halfopen-%d", os.Geteuid()))}}
}

func (l *Ledger) folder() (dir string, err error) {
	for _, dir := range l.dirs {
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, os.ErrExist) {
			err = private(dir)
		}
		if err == nil {
			return dir, nil
		}
	}
	return "", err
}

// private reports whether nobody else can write to a folder.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at folder %q: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%q is not a folder of this user's alone: remove it", dir)
	}
	return nil
}

// note is a change of a sysctl of a namespace.
type note struct {
	Boot   string `json:"boot"`  // /proc/sys/kernel/random/boot_id
	Netns  uint64 `json:"netns"` // inode of the namespace
	Sysctl string `json:"sysctl"`
	Was    string `json:"was"`
	Set    string `json:"set"`
}

// sysctls are those that may be set by a note, with the values they may have: a
// ledger's files are believed only so far.
var sysctls = map[string]*regexp.Regexp{
	idleKey: regexp.MustCompile(`^[0-9]{1,10}$`), acctKey: digit, stampKey: digit, eventsKey: digit,
}

var digit = regexp.MustCompile(`^[0-9]$`)

func parseNote(text []byte) (n note, err error) {
	if err := json.Unmarshal(text, &n); err != nil {
		return n, err
	}
	value := sysctls[n.Sysctl]
	if value == nil || !value.MatchString(n.Was) || !value.MatchString(n.Set) {
		return n, fmt.Errorf("sysctl %s from %q to %q: halfopen sets no such thing", n.Sysctl, n.Was, n.Set)
	}
	return n, nil
}

// note writes down a change that is about to be made. Done is to be called when
// it is undone, or was not made.
func (l *Ledger) note(ns *netns.NS, n note) (done func(), err error) {
	if n.Netns, err = ns.Inode(); err != nil {
		return nil, fmt.Errorf("write note: %w", err)
	}
	n.Boot = bootID()
	text, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("write note: %w", err)
	}
	dir, err := l.folder()
	if err != nil {
		return nil, fmt.Errorf("write note: %w", err)
	}
	f, err := os.CreateTemp(dir, "note-*.part")
	if err != nil {
		return nil, fmt.Errorf("write note: %w", err)
	}
	path := strings.TrimSuffix(f.Name(), ".part") + ".json"
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = f.Write(append(text, '\n'))
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, fmt.Errorf("write note: %w", err)
	}
	return func() {
		os.Remove(path)
		os.Remove(dir) // if it was the last
		f.Close()
	}, nil
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// Sweep undoes what killed processes have left, and says what that was. Changes
// of processes that still run are let be.
func (l *Ledger) Sweep() (swept []string, err error) {
	for _, dir := range l.dirs {
		if _, gone := os.Lstat(dir); gone != nil {
			continue
		}
		if perr := private(dir); perr != nil {
			if filepath.Dir(dir) == os.TempDir() || os.Geteuid() == 0 { // else it is root's
				err = errors.Join(err, perr)
			}
			continue
		}
		notes, _ := filepath.Glob(filepath.Join(dir, "note-*"))
		for _, path := range notes {
			what, serr := sweep(path)
			if serr != nil {
				err = errors.Join(err, fmt.Errorf("undo what %q tells: %w; if it is not needed any more, remove that file", path, serr))
			}
			if what != "" {
				swept = append(swept, what)
			}
		}
		os.Remove(dir) // if nothing is left in it
	}
	return swept, err
}

// hold locks a note; held is false while its process lives, or if it is gone.
func hold(path string) (f *os.File, held bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

func sweep(path string) (what string, err error) {
	f, held := hold(path)
	if !held {
		return "", nil
	}
	defer f.Close()
	if strings.HasSuffix(path, ".part") { // killed before the change
		return "", os.Remove(path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	n, err := parseNote(text)
	if err != nil {
		return "", err
	}
	if n.Boot == bootID() {
		if what, err = n.undo(); err != nil {
			return "", err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // its process may just have done so
		return what, err
	}
	return what, nil
}

// undo puts back what the note tells, if it is still so, and if the namespace is
// still there.
func (n note) undo() (what string, err error) {
	ns, err := find(n.Netns)
	if ns == nil || err != nil {
		return "", err
	}
	defer ns.Close()
	now, err := ns.Sysctl(n.Sysctl)
	if err != nil || now != n.Set {
		return "", err
	}
	return fmt.Sprintf("sysctl %s back from %s to %s", n.Sysctl, n.Set, n.Was), ns.SetSysctl(n.Sysctl, n.Was)
}

// find enters the namespace with that inode: the caller's own, a named one, or
// that of a thread. Nil: there is none.
func find(inode uint64) (*netns.NS, error) {
	paths := []string{"/proc/self/ns/net"}
	for _, glob := range []string{"/run/netns/*", "/run/docker/netns/*", "/proc/[0-9]*/task/[0-9]*/ns/net"} {
		found, _ := filepath.Glob(glob)
		paths = append(paths, found...)
	}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Ino == inode {
			return netns.Open(path)
		}
	}
	return nil, nil
}
