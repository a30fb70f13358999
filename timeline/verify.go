package timeline

import (
	"errors"
	"io/fs"
	"strings"
)

// Check is what Verify found out about a recording.
type Check struct {
	Path     string   `json:"path"`
	Records  int      `json:"records"`
	Ended    bool     `json:"ended"`                 // it has its last record
	Damage   []Damage `json:"damage,omitempty"`      // the first 20
	More     int      `json:"more_damage,omitempty"` // damaged lines beyond those
	Holes    []Hole   `json:"holes,omitempty"`
	Gaps     []Gap    `json:"gaps,omitempty"`     // losses that the recorder itself told of
	Unknown  []string `json:"unknown,omitempty"`  // kinds of records that a newer program wrote
	Disorder []uint64 `json:"disorder,omitempty"` // numbers of records whose monotonic clock runs backward
	// Manifest: files that are as they were, and what is wrong with the others.
	// Absent where the recording has none (it was cut short).
	FilesGood *int     `json:"files_good,omitempty"`
	FilesBad  []string `json:"files_bad,omitempty"`
}

// Whole reports whether nothing is missing or changed.
func (c Check) Whole() bool {
	return c.Ended && c.FilesGood != nil && len(c.Damage)+len(c.Holes)+len(c.Gaps)+len(c.Disorder)+len(c.FilesBad) == 0
}

// Verify reads the recording at path and its manifest.
func Verify(path string) (Check, error) {
	rec, err := Load(path)
	if err != nil {
		return Check{Path: path}, err
	}
	c := Check{Path: path, Records: len(rec.Records), Ended: rec.End() != nil, Damage: rec.Damage, More: rec.More, Holes: rec.Holes}
	seen := map[string]bool{}
	for i, r := range rec.Records {
		if i > 0 && (r.Mono < rec.Records[i-1].Mono || r.N <= rec.Records[i-1].N) {
			c.Disorder = append(c.Disorder, r.N)
		}
		if r.Gap != nil {
			c.Gaps = append(c.Gaps, *r.Gap)
		}
		if r.Unknown != nil && !seen[r.Unknown.Kind] {
			seen[r.Unknown.Kind] = true
			c.Unknown = append(c.Unknown, r.Unknown.Kind)
		}
	}
	good, bad, err := checkManifest(strings.TrimSuffix(path, Suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	c.FilesGood, c.FilesBad = &good, bad
	return c, err
}
