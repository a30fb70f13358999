package timeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What an experiment leaves under the recording's prefix and can't be summed costs
// the manifest nothing but itself, and is told of.
func TestManifestOfOddFiles(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "odd-20260102-030405")
	for _, name := range []string{"-notes.txt", "-two\nlines.txt"} {
		if err := os.WriteFile(prefix+name, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Mkdir(prefix+"-folder.d", 0o700), unix.Mkfifo(prefix+"-fifo.log", 0o600), os.Symlink("nowhere", prefix+"-link.log")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	path, err := WriteManifest(prefix)
	if err == nil {
		t.Fatal("nobody is told")
	}
	for _, name := range []string{"folder.d", "fifo.log", "link.log", `two\nlines.txt`} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	text, rerr := os.ReadFile(path)
	if rerr != nil || strings.Count(string(text), "\n") != 1 || !strings.HasSuffix(string(text), "  odd-20260102-030405-notes.txt\n") {
		t.Errorf("%v, manifest %q", rerr, text)
	}
}
