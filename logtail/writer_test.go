package logtail_test

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

var (
	modelOps  = flag.Int("logtail.ops", 3000, "operations of each property test")
	modelSeed = flag.Uint64("logtail.seed", 0, "seed of the property tests; 0 takes one from the clock")
)

// writer drives a log as programs and log rotation do. It works in epochs: some
// operations without a pause, then a line that must arrive. Then every line of
// the epoch has arrived once, or the epoch had an operation that can lose lines
// and a gap says so.
type writer struct {
	*record
	rng     *rand.Rand
	file    *os.File
	target  string // the file behind path
	rotated []string
	serial  int
	next    int   // number of the next line
	epoch   []int // lines that must arrive whole
	torn    []int // of it, lines left unfinished, which must arrive as Partial
	unended []int // such lines of all epochs that lost nothing
	lossy   bool  // an operation of this epoch can lose lines
	losses  int   // operations so far that can lose lines: as many gaps at most
	lost    int   // gaps so far
	log     []string
}

func newWriter(t *testing.T, path, target string) *writer {
	w := idleWriter(t, path, target)
	w.begin(logtail.FromBeginning)
	return w
}

// idleWriter has not begun to follow.
func idleWriter(t *testing.T, path, target string) *writer {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-logtail.seed=%d", seed)
	w := &writer{record: newRecord(t, path), rng: rand.New(rand.NewPCG(seed, 0)), target: target}
	w.create()
	t.Cleanup(func() { w.cancel(); _ = w.file.Close() })
	return w
}

func (w *writer) run(ops int, choices []func()) {
	for done := 0; done < ops; {
		n := 1 + w.rng.IntN(6)
		for range n {
			choices[w.rng.IntN(len(choices))]()
		}
		done += n
		w.settle()
	}
	w.stop()
	for _, id := range w.unended {
		if w.partial[id] != 1 {
			w.t.Errorf("unfinished line %d came %d times as partial", id, w.partial[id])
		}
	}
	for id, n := range w.times {
		if n > 1 {
			w.t.Errorf("line %d came %d times", id, n)
		}
	}
	for _, b := range w.bad {
		w.t.Error(b)
	}
	w.t.Logf("%d lines, %d gaps, %d rotations", w.next, w.lost, w.serial)
}

// settle ends an epoch.
func (w *writer) settle() {
	w.t.Helper()
	w.burst()
	w.sync()
	var missing []int
	defer func() {
		if w.t.Failed() {
			w.t.Logf("missing: lines %d", missing)
		}
	}()
	w.await(fmt.Sprintf("the lines of %q", w.log), func() bool {
		missing = slices.DeleteFunc(slices.Clone(w.epoch), func(id int) bool { return w.times[id] > 0 })
		return len(missing) == 0 || w.lossy && len(w.gaps) > 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.epoch {
		if w.times[id] > 1 {
			w.bad = append(w.bad, fmt.Sprintf("line %d came %d times after %q", id, w.times[id], w.log))
		}
	}
	// An event can come after the lines that it tells of, and a gap so too.
	if w.lost += len(w.gaps); w.lost > w.losses {
		w.bad = append(w.bad, fmt.Sprintf("%d gaps, at most %d can be: %v after %q", w.lost, w.losses, w.gaps, w.log))
	}
	if len(w.bad) > 0 {
		w.t.Fatalf("%q\nlast notes %q", w.bad, w.notes[max(0, len(w.notes)-8):])
	}
	if !w.lossy {
		w.unended = append(w.unended, w.torn...)
	}
	for len(w.rotated) > 10 {
		w.ok(os.Remove(w.rotated[0]))
		w.rotated = w.rotated[1:]
	}
	w.torn, w.gaps = w.torn[:0], nil
	w.epoch, w.log, w.lossy = w.epoch[:0], w.log[:0], false
}

// sync waits until everything written to the file that is there has arrived.
func (w *writer) sync() {
	w.t.Helper()
	id := w.next
	w.say(w.file, text(id)+"\n")
	w.next++
	w.epoch = append(w.epoch, id)
	w.await(fmt.Sprintf("line %d after %q", id, w.log), func() bool { return w.times[id] > 0 })
}

// lose says that the operation begun can lose lines.
func (w *writer) lose() { w.lossy = true; w.losses++ }

// did notes an operation and the number of the next line.
func (w *writer) did(op string) { w.log = append(w.log, fmt.Sprintf("%d: %s", w.next, op)) }

func (w *writer) say(f *os.File, s string) {
	if _, err := f.WriteString(s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) create() {
	f, err := os.OpenFile(w.target, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
	w.ok(err)
	w.file = f
}

// lines writes n lines, in writes that end anywhere.
func (w *writer) lines(f *os.File, n int) {
	var pending string
	for range n {
		pending += text(w.next) + "\n"
		w.epoch = append(w.epoch, w.next)
		w.next++
		if w.rng.IntN(3) == 0 {
			cut := w.rng.IntN(len(pending))
			w.say(f, pending[:cut])
			pending = pending[cut:]
		}
	}
	w.say(f, pending)
}

func (w *writer) burst() {
	w.did("burst")
	w.lines(w.file, 1+w.rng.IntN(40))
}

// away gives the file another name and returns it.
func (w *writer) away() string {
	w.serial++
	name := fmt.Sprintf("%s.%d", w.target, w.serial)
	w.ok(os.Rename(w.target, name))
	w.rotated = append(w.rotated, name)
	return name
}

func (w *writer) rename() {
	w.did("rename")
	w.away()
	w.ok(w.file.Close())
	w.create()
}

// renameLate goes on writing to the renamed file for a while.
func (w *writer) renameLate() {
	w.did("rename, late lines")
	old := w.file
	w.away()
	w.lines(old, 1+w.rng.IntN(5))
	w.create()
	w.lines(w.file, w.rng.IntN(3))
	half := text(w.next)
	cut := w.rng.IntN(len(half))
	w.say(old, half[:cut])
	w.lines(w.file, 0)
	w.say(old, half[cut:]+"\n")
	w.epoch = append(w.epoch, w.next)
	w.next++
	w.ok(old.Close())
}

// renameTorn leaves a line unfinished.
func (w *writer) renameTorn() {
	w.did("rename in mid-line")
	s := text(w.next)
	w.say(w.file, s[:9+w.rng.IntN(len(s)-9)])
	w.torn = append(w.torn, w.next)
	w.next++
	w.rename()
}

func (w *writer) remove() {
	w.did("delete")
	w.lose()
	w.ok(os.Remove(w.target))
	w.ok(w.file.Close())
	w.create()
}

// compress packs the file rotated last, so that only its descriptor gives its
// bytes.
func (w *writer) compress() {
	if len(w.rotated) == 0 {
		return
	}
	w.did("compress")
	w.lose() // it may not have been opened yet
	name := w.rotated[len(w.rotated)-1]
	w.rotated = w.rotated[:len(w.rotated)-1]
	in, err := os.Open(name)
	w.ok(err)
	out, err := os.Create(name + ".gz")
	w.ok(err)
	zip := gzip.NewWriter(out)
	_, err = io.Copy(zip, in)
	w.ok(err)
	w.ok(zip.Close())
	w.ok(out.Close())
	w.ok(in.Close())
	w.ok(os.Remove(name))
	w.ok(os.Remove(name + ".gz"))
}

// truncate empties the file in place. It must have been read from: before that,
// nothing can tell.
func (w *writer) truncate() {
	w.sync()
	w.did("truncate")
	w.lose()
	w.lines(w.file, w.rng.IntN(20))
	w.ok(w.file.Truncate(0))
	w.lines(w.file, w.rng.IntN(60))
}

// copyTruncate loses only what is written between the copy and the truncation.
func (w *writer) copyTruncate() {
	w.sync()
	w.lines(w.file, w.rng.IntN(20))
	w.copyAndTruncate()
}

func (w *writer) copyAndTruncate() {
	w.did("copytruncate")
	w.serial++
	name := fmt.Sprintf("%s.%d", w.target, w.serial)
	copyTo(w.t, w.target, name)
	w.rotated = append(w.rotated, name)
	w.lose()
	if w.rng.IntN(2) == 0 {
		w.lines(w.file, w.rng.IntN(3))
	}
	w.ok(w.file.Truncate(0))
	w.lines(w.file, w.rng.IntN(60))
}

// restart follows anew from where the last following ended; the log rotates
// meanwhile.
func (w *writer) restart() {
	w.sync()
	w.did("restart")
	w.stop()
	for range w.rng.IntN(3) {
		w.lines(w.file, w.rng.IntN(20))
		awaitTick()
		w.rename()
		awaitTick()
	}
	w.begin(w.end)
}

// restartSaved follows anew from the saved position. rotate is what happens to
// the log meanwhile.
func (w *writer) restartSaved(rotate func()) func() {
	return func() {
		w.sync()
		w.did("restart from the saved position")
		w.stop()
		for range w.rng.IntN(3) {
			w.lines(w.file, w.rng.IntN(20))
			awaitTick()
			rotate()
			awaitTick()
		}
		w.begin(logtail.FromNow)
	}
}

// begin follows; what happened before the file was opened is the past.
func (w *writer) begin(from logtail.Start) {
	w.mu.Lock()
	w.notes = w.notes[:0]
	w.mu.Unlock()
	w.start(from)
	w.await("the file to be opened", func() bool {
		return slices.ContainsFunc(w.notes, func(s string) bool { return strings.Contains(s, "followed from") })
	})
}

// replaceDir moves the directory away with all that is in it.
func (w *writer) replaceDir() {
	w.sync()
	w.did("directory")
	w.serial++
	dir := filepath.Dir(w.target)
	w.ok(os.Rename(dir, fmt.Sprintf("%s.%d", dir, w.serial)))
	w.ok(w.file.Close())
	w.rotated = nil
	if w.rng.IntN(2) == 0 {
		w.ok(os.RemoveAll(fmt.Sprintf("%s.%d", dir, w.serial)))
	}
	w.ok(os.Mkdir(dir, 0o755))
	w.create()
}

// retarget points the symbolic link at a new file.
func (w *writer) retarget() {
	w.sync()
	w.did("link")
	w.serial++
	w.ok(w.file.Close())
	w.rotated = nil
	w.target = filepath.Join(filepath.Dir(w.target), fmt.Sprintf("%c.log", 'a'+w.serial%26))
	if err := os.Remove(w.target); err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	w.create()
	w.link()
	w.sync()
}

func (w *writer) link() {
	w.ok(os.Symlink(w.target, w.path+".tmp"))
	w.ok(os.Rename(w.path+".tmp", w.path))
}
