package logtail_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"halfopen/logtail"
)

// A file that comes back to its name is read on where it was left.
func TestRotateBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: 5 * time.Millisecond}).ready()
	write(t, path, "one\n")
	f.want("one")
	for _, letGo := range []bool{false, true} {
		must(t, os.Rename(path, path+".1"))
		write(t, path, "between\n")
		f.want("between")
		if letGo { // when the next one is replaced
			must(t, os.Rename(path, path+".2"))
			write(t, path, "again\n")
			f.want("again")
			until(t, "the file to be let go", func() bool { return !isOpen(t, path+".1") })
		}
		must(t, os.Rename(path+".1", path))
		write(t, path, "back\n")
		f.want("back")
	}
	f.complete()
}

// A writer that nobody told to reopen goes on in the renamed file, however late.
func TestRotateWithoutReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\nunfinished")
	f := follow(t, logtail.Config{Path: path, Poll: 500 * time.Millisecond, From: logtail.FromBeginning}) // the two parts of "late" come within 10 ticks
	f.want("one")
	must(t, os.Rename(path, path+".1"))
	write(t, path+".new", "two\n")
	must(t, os.Rename(path+".new", path))
	f.want("two")
	if l := f.line(); string(l.Bytes) != "unfinished" || !l.Partial { // it was idle for 10 ticks
		t.Errorf("line %+v", l)
	}
	write(t, path+".1", "la")
	write(t, path, "three\n")
	f.want("three")
	write(t, path+".1", "te\n")
	f.want("late")
	must(t, os.Remove(path+".1"))
	until(t, "the deleted file to be let go", func() bool { return !isOpen(t, path+".1 (deleted)") })
	f.complete()
}

// isOpen reports whether this process has a descriptor of a file.
func isOpen(t *testing.T, path string) bool {
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); target == path {
			return true
		}
	}
	return false
}
