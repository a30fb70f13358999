package timeline

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Check is what Verify found out about a recording.
type Check struct {
	Path     string `json:"path"`
	Segments int    `json:"segments"` // files of the timeline
	// Snapshots is how many the series has; its numbers add up theirs, and Parts are
	// those that are not whole. Absent of any other recording.
	Snapshots int      `json:"snapshots,omitempty"`
	Parts     []Check  `json:"parts,omitempty"`
	First     uint64   `json:"first"` // number of its first record
	Records   int      `json:"records"`
	Ended     bool     `json:"ended"`                 // it has its last record
	Damage    []Damage `json:"damage,omitempty"`      // the first 20
	More      int      `json:"more_damage,omitempty"` // damaged lines beyond those
	Holes     []Hole   `json:"holes,omitempty"`
	Gaps      []Gap    `json:"gaps,omitempty"`     // losses that the recorder itself told of
	Unknown   []string `json:"unknown,omitempty"`  // kinds of records that a newer program wrote
	Disorder  []uint64 `json:"disorder,omitempty"` // numbers of records whose monotonic clock runs backward
	// Removed are the files that the recorder itself removed to keep no more than
	// it was told.
	Removed int `json:"removed,omitempty"`
	// Manifest: files that are as they were, and what is wrong with the others.
	// Absent where the recording has none (it was cut short).
	FilesGood *int     `json:"files_good,omitempty"`
	FilesBad  []string `json:"files_bad,omitempty"`
}

// maxListed bounds each list of a Check: a hostile file may have millions.
const maxListed = 1000

// Whole reports whether nothing is missing or changed.
func (c Check) Whole() bool {
	return c.Ended && c.FilesGood != nil && len(c.Damage)+len(c.Holes)+len(c.Gaps)+len(c.Disorder)+len(c.FilesBad)+len(c.Parts) == 0
}

// Verify reads the recording that path is a file of, and its manifest, in memory
// that does not grow with it.
func Verify(path string) (Check, error) {
	if series, unread := snapshotsOf(path); len(series) > 0 {
		return verifySeries(path, series, unread)
	}
	names, err := Files(strings.TrimSuffix(path, Suffix))
	if err != nil {
		return Check{Path: path}, err
	}
	return verify(path, names)
}

// verify is Verify of a recording whose files are known.
func verify(path string, names []string) (Check, error) {
	c := Check{Path: path}
	list, err := segments(path)
	if err != nil {
		return c, err
	}
	c.Segments = len(list)
	s, err := Open(path)
	if err != nil {
		return c, err
	}
	defer s.Close()
	v := verifier{Check: &c, seen: map[string]bool{}}
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, err
		}
		v.take(r)
	}
	c.Damage, c.More = s.Damage()
	headers := Recording{Path: path, Damage: c.Damage}
	if v.header != nil {
		headers.Records = []Record{{Body: Body{Header: v.header}}}
	}
	if err := headers.check(); err != nil {
		return c, err
	}
	// What --keep removed is missing on purpose, and a later segment says so.
	if c.First > 1 && !v.begun {
		c.Holes = append([]Hole{{Missing: c.First - 1}}, c.Holes...)
	}
	good, bad, err := checkManifest(strings.TrimSuffix(path, Suffix), names)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	c.FilesGood, c.FilesBad = &good, bad
	return c, err
}

// verifier takes a recording's records one by one.
type verifier struct {
	*Check
	header *Header
	last   uint64
	mono   time.Duration
	seen   map[string]bool
	begun  bool // segments before were removed by the recorder itself
}

func (v *verifier) take(r Record) {
	switch {
	case v.Records == 0:
		v.First = r.N
	case (r.Mono < v.mono || r.N <= v.last) && len(v.Disorder) < maxListed:
		v.Disorder = append(v.Disorder, r.N)
	case r.N > v.last+1 && len(v.Holes) < maxListed:
		v.Holes = append(v.Holes, Hole{After: v.last, Missing: r.N - v.last - 1})
	}
	v.Records++
	v.last, v.mono, v.Ended = r.N, r.Mono, r.End != nil
	switch {
	case r.Header != nil && v.header == nil:
		v.header = r.Header
	case r.Gap != nil && len(v.Gaps) < maxListed:
		v.Gaps = append(v.Gaps, *r.Gap)
	case r.Removed != nil:
		v.Removed += len(r.Removed.Names)
		v.begun = v.begun || slices.ContainsFunc(r.Removed.Names, func(name string) bool { _, _, _, ok := splitSegment(name); return ok })
	case r.Unknown != nil && !v.seen[r.Unknown.Kind] && len(v.seen) < maxListed:
		v.seen[r.Unknown.Kind] = true
		v.Unknown = append(v.Unknown, r.Unknown.Kind)
	}
}
