package timeline

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Suffix ends the name of a recording's timeline; what stands before it is the
// prefix that all files of the recording share.
const Suffix = "-timeline.jsonl"

// Partial ends the name of a file of a recording while it is written: it gets its
// own when it is whole.
const Partial = ".part"

// IsPartial reports whether a file name is that of a recording's file that is not
// whole.
func IsPartial(name string) bool {
	return strings.HasSuffix(name, Partial) && anyFile.MatchString(name)
}

// Prefix is the first part of the names of a recording's files.
func Prefix(experiment string, started time.Time) string {
	return experiment + "-" + started.UTC().Format(stampLayout)
}

var (
	// A second recording in the same second carries a number: …-120000-2-….
	anyFile      = regexp.MustCompile(`^(.+-\d{8}-\d{6}(?:-\d+)?)-[a-z]`)
	experimentOK = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// CheckExperiment says what is wrong with an experiment's name: it becomes part
// of file names.
func CheckExperiment(name string) error {
	if !experimentOK.MatchString(name) {
		return fmt.Errorf("experiment name %q: want up to 64 letters, digits, dots, dashes and underscores, a letter or digit first", name)
	}
	return nil
}

// Find returns the name of the recording that name means: a folder or an experiment
// in one (its newest recording), a prefix, or any file of the recording. It is that
// of its first segment, whether that is still there or not; Load and the like take
// it. Where the newest recording is a snapshot, the whole series is meant.
func Find(name string) (string, error) {
	path, _, err := FindNewest(name)
	return path, err
}

// FindNewest is Find, and tells which newer recordings it passed over: timelines
// without a byte, whose recorder was killed at once.
func FindNewest(name string) (path string, passed []string, err error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return newest(name, "")
	}
	path, err = findOne(name)
	if _, there := os.Stat(name); err == nil || there == nil {
		return path, nil, err
	}
	if dir, experiment := filepath.Split(name); experiment != "" {
		if path, passed, err := newest(filepath.Clean(dir), experiment); err == nil {
			return path, passed, nil
		}
	}
	return "", nil, err
}

// findOne is what a prefix or a file's name means.
func findOne(name string) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return sibling(name)
	}
	if path := name + Suffix; recorded(path) {
		return path, nil
	}
	if _, _, _, ok := splitSegment(filepath.Base(name)); ok && (recorded(name) || isSeries(name)) {
		return sibling(name) // by its first segment, which is compressed or removed, or that of a series
	}
	return "", fmt.Errorf("no recording %q: name a folder, a prefix such as evidence/halfopen-nat-20060102-150405, or one of its files", name)
}

// All lists the recordings of a folder, by the names that Find gives them.
func All(dir string) (paths []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for recordings: %w", err)
	}
	for _, f := range files {
		if prefix, _, _, ok := splitSegment(f.Name()); ok {
			paths = append(paths, filepath.Join(dir, prefix+Suffix))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no recording in folder %q: nothing there is called *%s", dir, Suffix)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// newest is the newest recording of a folder, of one experiment where that is named.
// A file without a byte, whose recorder was killed at once, is passed over where there
// is another.
func newest(dir, experiment string) (path string, passed []string, err error) {
	list, err := datedIn(dir)
	if err != nil {
		return "", nil, err
	}
	for _, d := range slices.Backward(list) {
		if experiment != "" && d.experiment != experiment {
			continue
		}
		if path == "" {
			path = d.path
		}
		if st, err := os.Stat(d.path); err == nil && st.Size() == 0 {
			passed = append(passed, d.path)
			continue
		}
		if isSnapshot(d.path) && d.stamp != "" {
			return seriesPath(d), passed, nil
		}
		return d.path, passed, nil
	}
	if path == "" {
		err = fmt.Errorf("no recording of experiment %q in folder %q", experiment, dir)
	}
	return path, nil, err
}

func sibling(file string) (string, error) {
	dir, base := filepath.Split(file)
	if prefix, _, _, ok := splitSegment(base); ok {
		return filepath.Join(dir, prefix+Suffix), nil
	}
	if ext := strings.TrimSuffix(base, packed); filepath.Ext(ext) == ".jsonl" {
		return file, nil // under a name of the user's
	}
	if m := anyFile.FindStringSubmatch(base); m != nil {
		if path := filepath.Join(dir, m[1]+Suffix); recorded(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("file %q belongs to no recording: there is no *%s of the same prefix beside it", file, Suffix)
}

// recorded reports whether there is a segment of the recording.
func recorded(path string) bool {
	_, err := segments(path)
	return err == nil
}
