package timeline

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Suffix ends the name of a recording's timeline; what stands before it is the
// prefix that all files of the recording share.
const Suffix = "-timeline.jsonl"

// Prefix is the first part of the names of a recording's files.
func Prefix(experiment string, started time.Time) string {
	return experiment + "-" + started.UTC().Format("20060102-150405")
}

var (
	// A second recording in the same second carries a number: …-120000-2-….
	anyFile       = regexp.MustCompile(`^(.+-\d{8}-\d{6}(?:-\d+)?)-[a-z]`)
	experimentOK  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	stampOfPrefix = regexp.MustCompile(`(\d{8}-\d{6})(?:-(\d+))?$`)
)

// CheckExperiment says what is wrong with an experiment's name: it becomes part
// of file names.
func CheckExperiment(name string) error {
	if !experimentOK.MatchString(name) {
		return fmt.Errorf("experiment name %q: want up to 64 letters, digits, dots, dashes and underscores, a letter or digit first", name)
	}
	return nil
}

// Find returns the timeline of the recording that name means: a folder (its
// newest recording), a prefix, or any file of the recording.
func Find(name string) (string, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return newest(name)
	} else if err == nil {
		return sibling(name)
	}
	if path := name + Suffix; exists(path) {
		return path, nil
	}
	return "", fmt.Errorf("no recording %q: name a folder, a prefix such as evidence/halfopen-nat-20060102-150405, or one of its files", name)
}

func newest(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("look for recordings: %w", err)
	}
	var best, bestStamp string
	var bestNumber int
	for _, f := range files {
		prefix, ok := strings.CutSuffix(f.Name(), Suffix)
		if !ok {
			continue
		}
		stamp, number := "", 0
		if m := stampOfPrefix.FindStringSubmatch(prefix); m != nil {
			stamp = m[1]
			number, _ = strconv.Atoi(m[2]) // absent in the first recording of a second
		}
		if best == "" || stamp > bestStamp || stamp == bestStamp && number > bestNumber {
			best, bestStamp, bestNumber = f.Name(), stamp, number
		}
	}
	if best == "" {
		return "", fmt.Errorf("no recording in folder %q: nothing there is called *%s", dir, Suffix)
	}
	return filepath.Join(dir, best), nil
}

func sibling(file string) (string, error) {
	dir, base := filepath.Split(file)
	if len(base) > len(Suffix) && base[len(base)-len(Suffix):] == Suffix {
		return file, nil
	}
	if m := anyFile.FindStringSubmatch(base); m != nil {
		if path := filepath.Join(dir, m[1]+Suffix); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("file %q belongs to no recording: there is no *%s of the same prefix beside it", file, Suffix)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
