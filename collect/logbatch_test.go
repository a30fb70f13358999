package collect

import "testing"

// The lines of a log stay in their order where they come from a file, from the
// copy that its rotation made, and from that file again; those of other logs
// meanwhile don't part them.
func TestBatchKeepsOrderOfLog(t *testing.T) {
	var b batch
	for _, l := range []struct {
		source string
		inode  uint64
		text   string
	}{
		{"a", 1, "one"}, {"b", 9, "other"}, {"a", 1, "two"}, {"a", 2, "three"}, {"b", 9, "another"}, {"a", 1, "four"},
	} {
		b.add(copied{source: l.source, inode: l.inode, bytes: []byte(l.text), size: int64(len(l.text)) + 1})
	}
	got := map[string]string{}
	for _, p := range b.piles {
		got[p.source] += string(p.bytes)
	}
	if want := "one\ntwo\nthree\nfour\n"; got["a"] != want {
		t.Errorf("lines of a: %q, want %q", got["a"], want)
	}
	if want := "other\nanother\n"; got["b"] != want || len(b.piles) != 4 {
		t.Errorf("lines of b: %q in %d piles, want %q in 4", got["b"], len(b.piles), want)
	}
}
