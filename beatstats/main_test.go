package beatstats

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixtures gives the files of testdata that match, at least atLeast of them.
func fixtures(t testing.TB, pattern string, atLeast int) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) < atLeast {
		t.Fatalf("testdata/%s: %d files, want at least %d (%v)", pattern, len(names), atLeast, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		files[filepath.Base(name)] = fixture(t, filepath.Base(name))
	}
	return files
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
