package timeline

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A snapshot is a small recording that holds one reading of everything. The
// snapshots of one experiment in one folder are a series, which is read as one
// recording. Its name is that of a recording without a time,
// EXPERIMENT-timeline.jsonl; no file is called so.

// stampLayout is how the names of recordings tell when they began, in UTC.
const stampLayout = "20060102-150405"

var datedPrefix = regexp.MustCompile(`^(.+)-(\d{8}-\d{6})(?:-(\d+))?$`)

// dated is a recording by its name.
type dated struct {
	path, experiment, stamp string
	number                  int // of several in one second, 0 for the first
}

func (d dated) began() (time.Time, error) { return time.Parse(stampLayout, d.stamp) }

// datedIn lists the recordings of a folder, oldest first by their names.
func datedIn(dir string) ([]dated, error) {
	paths, err := All(dir)
	if err != nil {
		return nil, err
	}
	var list []dated
	for _, path := range paths {
		d := dated{path: path, experiment: strings.TrimSuffix(filepath.Base(path), Suffix)}
		if m := datedPrefix.FindStringSubmatch(d.experiment); m != nil {
			d.experiment, d.stamp = m[1], m[2]
			d.number, _ = strconv.Atoi(m[3])
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b dated) int {
		return cmp.Or(cmp.Compare(a.stamp, b.stamp), a.number-b.number, -cmp.Compare(a.path, b.path))
	})
	return list, nil
}

// isSnapshot reports whether a recording is a snapshot. One without a header, whose
// recorder was killed at once, is none.
func isSnapshot(path string) bool { return snapshotHeader(path) != nil }

// snapshotHeader is the header of a snapshot, nil of any other recording.
func snapshotHeader(path string) *Header {
	if h, err := readHeader(path); err == nil && h.Snapshot {
		return h
	}
	return nil
}

// readHeader reads the header that a recording begins with.
func readHeader(path string) (*Header, error) {
	text, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	first, err := (&Reader{in: bufio.NewReaderSize(text, 4<<10)}).Next()
	if err != nil || first.Header == nil {
		return nil, ErrNoHeader
	}
	return first.Header, nil
}

// ended reports whether a recording has its last record.
func ended(path string) bool {
	s, err := Open(path)
	if err != nil {
		return false
	}
	defer s.Close()
	for last := (Record{}); ; {
		r, err := s.Next()
		if err != nil {
			return last.End != nil
		}
		last = r
	}
}

// seriesPath names the series that a snapshot is of.
func seriesPath(d dated) string {
	return filepath.Join(filepath.Dir(d.path), d.experiment+Suffix)
}

// snapshotsOf are the snapshots of the series that path names, none where it names a
// file, and what may belong to them; see seriesOf.
func snapshotsOf(path string) (list, unread []dated) {
	experiment, _, _, ok := splitSegment(filepath.Base(path))
	if _, err := segments(path); !ok || err == nil {
		return nil, nil
	}
	all, err := datedIn(filepath.Dir(path))
	if err != nil {
		return nil, nil
	}
	return seriesOf(all, experiment)
}

func isSeries(path string) bool {
	list, _ := snapshotsOf(path)
	return len(list) > 0
}

// isTimeline reports whether a file is a recording's, by its name.
func isTimeline(name string) bool {
	_, _, _, ok := splitSegment(name)
	return ok
}

// seriesOf are the snapshots of an experiment among the recordings of a folder, oldest
// first. Unread are those whose header can't be read: whether they are snapshots,
// nobody knows.
func seriesOf(all []dated, experiment string) (list, unread []dated) {
	for _, d := range all {
		if d.experiment != experiment || d.stamp == "" {
			continue
		}
		switch h, err := readHeader(d.path); {
		case errors.Is(err, ErrNoHeader):
			unread = append(unread, d)
		case err == nil && h.Snapshot:
			list = append(list, d)
		}
	}
	return list, unread
}

// Parts are the recordings that a name which Find gave stands for: the snapshots of
// a series, oldest first, or the recording itself.
func Parts(path string) (paths []string) {
	list, _ := snapshotsOf(path)
	for _, d := range list {
		paths = append(paths, d.path)
	}
	if paths == nil {
		paths = []string{path}
	}
	return paths
}

// Previous is the snapshot before the one at path, by their names, that is of the same
// host and has its end; ok is false where there is none.
func Previous(path string) (before string, ok bool) {
	all, err := datedIn(filepath.Dir(path))
	if err != nil {
		return "", false
	}
	at := slices.IndexFunc(all, func(d dated) bool { return d.path == path })
	own := snapshotHeader(path) // nil on a full disk
	for i := len(all) - 1; i >= 0 && at >= 0; i-- {
		// After the wall clock was set back, older ones have later names.
		if i == at || all[i].experiment != all[at].experiment {
			continue
		}
		h := snapshotHeader(all[i].path)
		if h != nil && (own == nil || h.Host == own.Host) && ended(all[i].path) {
			return all[i].path, true
		}
	}
	return "", false
}

// LoadSnapshots reads snapshots as one recording. Unwritten are the lines of the
// last one that are not on the disk.
func LoadSnapshots(paths []string, unwritten []byte) (*Recording, error) {
	return loadSnapshots(paths[len(paths)-1], paths, unwritten)
}

// loadSeries loads as many of a series' newest snapshots as memory is to hold.
func loadSeries(path string, list, unread []dated, most int64) (*Recording, error) {
	var paths []string
	first := len(list)
	for size := int64(0); first > 0 && size < most; first-- {
		if st, err := os.Stat(list[first-1].path); err == nil {
			size += st.Size()
		}
		paths = append(paths, list[first-1].path)
	}
	rec, err := loadSnapshots(path, paths, nil)
	if err != nil {
		return rec, err
	}
	rec.Older = first
	for _, d := range unread {
		rec.Unread = append(rec.Unread, filepath.Base(d.path))
	}
	return rec, nil
}

func loadSnapshots(path string, paths []string, unwritten []byte) (*Recording, error) {
	m, err := Merge(paths)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for _, s := range m.sources {
		if s.path == paths[len(paths)-1] {
			s.unwritten = unwritten
		}
	}
	rec := &Recording{Path: path}
	for {
		r, err := m.Next()
		if errors.Is(err, io.EOF) {
			rec.Gone = m.Gone
			return rec, rec.check()
		}
		if err != nil {
			return nil, err
		}
		rec.Records = append(rec.Records, r)
	}
}

// verifySeries verifies each snapshot, and adds up.
func verifySeries(path string, list, unread []dated) (Check, error) {
	good := 0
	c := Check{Path: path, Snapshots: len(list), First: 1, Ended: true, FilesGood: &good}
	files, err := filesOf(filepath.Dir(path))
	if err != nil {
		return c, err
	}
	for _, d := range list {
		names := slices.DeleteFunc(files[d.prefix()], func(name string) bool { return strings.HasSuffix(name, Partial) })
		one, err := verify(d.path, names)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile, to keep no more than was asked for
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", d.path, err)
		}
		c.Segments, c.Records, c.Removed = c.Segments+one.Segments, c.Records+one.Records, c.Removed+one.Removed
		c.Ended = c.Ended && one.Ended
		if one.FilesGood != nil {
			good += *one.FilesGood
		}
		if !one.Whole() && len(c.Parts) < maxListed {
			c.Parts = append(c.Parts, one)
		}
	}
	for _, d := range unread {
		c.FilesBad = append(c.FilesBad, fmt.Sprintf("%q: it has no header that can be read; it may have been a snapshot", filepath.Base(d.path)))
	}
	for _, prefix := range slices.Sorted(maps.Keys(files)) {
		m := datedPrefix.FindStringSubmatch(prefix)
		if manifest := prefix + manifestSuffix; m != nil && m[1] == list[0].experiment && slices.Contains(files[prefix], manifest) && !slices.ContainsFunc(files[prefix], isTimeline) {
			c.FilesBad = append(c.FilesBad, fmt.Sprintf("%q: the timeline that it names is not there", manifest))
		}
	}
	return c, nil
}
