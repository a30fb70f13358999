package timeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptSnapshots are never removed: two in a row are what proves a stall.
const keptSnapshots = 2

// Retain removes the oldest snapshots of the series that the one at path is of, for
// as long as there is more than is to be kept: whole ones, and never the newest two
// or that one itself. Other recordings, and other files, are left alone. Removed is
// nil where nothing was too much; it tells what went also with an error.
func Retain(path string, keep Keep, now time.Time) (removed *Removed, err error) {
	if keep == (Keep{}) {
		return nil, nil
	}
	dir := filepath.Dir(path)
	all, err := datedIn(dir)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(d dated) bool { return d.path == path })
	if at < 0 {
		return nil, fmt.Errorf("find the series of %q: it is not there", path)
	}
	list, _ := seriesOf(all, all[at].experiment)
	files, err := filesOf(dir)
	if err != nil {
		return nil, err
	}
	sizes := make([]int64, len(list))
	var total int64
	for i, d := range list {
		for _, name := range files[d.prefix()] {
			if st, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				sizes[i] += st.Size()
			}
		}
		total += sizes[i]
	}
	gone := &Removed{Why: "no more than " + keep.String() + " is kept"}
	for i := 0; i < len(list)-keptSnapshots && err == nil; i++ {
		began, unknown := list[i].began()
		old := unknown == nil && keep.For > 0 && now.Sub(began) > keep.For
		if !old && !(keep.Size > 0 && total > keep.Size) {
			break
		}
		if list[i].path == path {
			continue
		}
		for _, name := range files[list[i].prefix()] {
			if err = os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("remove snapshot: %w", err)
				break
			}
			err = nil
			gone.Names = append(gone.Names, name)
		}
		gone.Bytes, total = gone.Bytes+sizes[i], total-sizes[i]
	}
	if len(gone.Names) == 0 {
		return nil, err
	}
	return gone, err
}

// prefix is that of a recording's files, without folder.
func (d dated) prefix() string { return strings.TrimSuffix(filepath.Base(d.path), Suffix) }

// filesOf lists the files of all recordings of a folder by their prefix, timelines
// last: without its timeline nobody would know of a snapshot's other files.
func filesOf(dir string) (map[string][]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list evidence files: %w", err)
	}
	files, timelines := map[string][]string{}, map[string][]string{}
	for _, e := range entries {
		m := anyFile.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		if prefix, _, _, ok := splitSegment(e.Name()); ok {
			timelines[prefix] = append(timelines[prefix], e.Name())
		} else {
			files[m[1]] = append(files[m[1]], e.Name())
		}
	}
	for prefix, names := range timelines {
		files[prefix] = append(files[prefix], names...)
	}
	return files, nil
}
