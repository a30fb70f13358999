package timeline

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const manifestSuffix = "-manifest.sha256"

// WriteManifest lists the files of the recording with the given path prefix and
// their SHA-256 sums, as sha256sum(1) prints and checks them. What can't be summed,
// such as a folder or a FIFO that an experiment has left under the prefix, is left
// out, and the error tells of it; the manifest is written all the same.
func WriteManifest(prefix string) (path string, err error) {
	path = prefix + manifestSuffix
	files, err := Files(prefix)
	if err != nil {
		return path, err
	}
	var out strings.Builder
	var odd error
	for _, name := range files {
		if name == filepath.Base(path) {
			continue
		}
		if strings.ContainsAny(name, "\n\r\\") { // sha256sum(1) would escape them
			odd = errors.Join(odd, fmt.Errorf("%q is not in the manifest: its name has a line break or a backslash", name))
			continue
		}
		sum, err := sumFile(filepath.Join(filepath.Dir(prefix), name))
		if err != nil {
			odd = errors.Join(odd, fmt.Errorf("%q is not in the manifest: %w", name, err))
			continue
		}
		fmt.Fprintf(&out, "%s  %s\n", sum, name)
	}
	err = WriteWhole(path, func(to io.Writer) error {
		_, err := io.WriteString(to, out.String())
		return err
	})
	if err != nil {
		err = fmt.Errorf("write manifest: %w", err)
	}
	return path, errors.Join(odd, err)
}

// Files lists the names of a recording's files, sorted: not what is only half
// written, nor a socket that takes marks.
func Files(prefix string) (names []string, err error) {
	all, err := os.ReadDir(filepath.Dir(prefix))
	if err != nil {
		return nil, fmt.Errorf("list evidence files: %w", err)
	}
	for _, f := range all {
		if !strings.HasPrefix(f.Name(), filepath.Base(prefix)+"-") {
			continue
		}
		m := anyFile.FindStringSubmatch(f.Name())
		if m != nil && m[1] == filepath.Base(prefix) && !strings.HasSuffix(f.Name(), Partial) && f.Type()&fs.ModeSocket == 0 {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// openRegular opens a file that came with a recording, maybe from a stranger: a
// FIFO or a device in its place would never end.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%q is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func sumFile(path string) (string, error) {
	f, err := openRegular(path)
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

// checkManifest returns how many files of a recording are as its manifest says,
// and a sentence for each that is not, or that the manifest does not name (names are the files that are there). Names
// that would leave the folder are refused: a manifest may come from a stranger.
func checkManifest(prefix string, names []string) (good int, bad []string, err error) {
	f, err := openRegular(prefix + manifestSuffix)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	named := map[string]bool{filepath.Base(prefix) + manifestSuffix: true} // itself
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		want, name, ok := strings.Cut(lines.Text(), " ")
		if ok { // the second character says text or binary: sha256sum(1)
			name, ok = strings.CutPrefix(strings.Replace(name, "*", " ", 1), " ")
		}
		if !ok || len(want) != sha256.Size*2 || name != filepath.Base(name) {
			bad = append(bad, fmt.Sprintf("manifest line %d is not a sum and a file name: %.80q", n, lines.Text()))
			continue
		}
		if named[name] {
			bad = append(bad, fmt.Sprintf("%q: the manifest names it twice", name))
			continue
		}
		named[name] = true
		got, err := sumFile(filepath.Join(filepath.Dir(prefix), name))
		switch {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%q: %v", name, err))
		case got != want:
			bad = append(bad, fmt.Sprintf("%q: changed since it was recorded", name))
		default:
			good++
		}
	}
	for _, name := range names {
		if !named[name] {
			bad = append(bad, fmt.Sprintf("%q: the manifest does not name it", name))
		}
	}
	return good, bad, lines.Err()
}
