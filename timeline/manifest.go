package timeline

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const manifestSuffix = "-manifest.sha256"

// WriteManifest lists the files of the recording with the given path prefix and
// their SHA-256 sums, as sha256sum(1) prints and checks them.
func WriteManifest(prefix string) (path string, err error) {
	path = prefix + manifestSuffix
	files, err := filepath.Glob(globQuote(prefix) + "-*")
	if err != nil {
		return path, fmt.Errorf("list evidence files: %w", err)
	}
	slices.Sort(files)
	var out strings.Builder
	for _, f := range files {
		if m := anyFile.FindStringSubmatch(filepath.Base(f)); f == path || m == nil || m[1] != filepath.Base(prefix) {
			continue // of a second recording in the same second
		}
		sum, err := sumFile(f)
		if err != nil {
			return path, err
		}
		fmt.Fprintf(&out, "%s  %s\n", sum, filepath.Base(f))
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o640); err != nil {
		return path, fmt.Errorf("write manifest: %w", err)
	}
	return path, nil
}

// globQuote keeps the characters of a folder's name from being read as a pattern.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("sum evidence file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("sum evidence file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checkManifest returns how many files of the manifest are as they were, and a
// sentence for each that is not. Names that would leave the folder are refused:
// a manifest may come from a stranger.
func checkManifest(path string) (good int, bad []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		want, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(want) != sha256.Size*2 || name != filepath.Base(name) {
			bad = append(bad, fmt.Sprintf("manifest line %d is not a sum and a file name: %.80q", n, lines.Text()))
			continue
		}
		got, err := sumFile(filepath.Join(filepath.Dir(path), name))
		switch {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s: %v", name, err))
		case got != want:
			bad = append(bad, fmt.Sprintf("%s: changed since it was recorded", name))
		default:
			good++
		}
	}
	return good, bad, lines.Err()
}
