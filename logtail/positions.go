package logtail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// maxPositions is how many logs a file of positions names; the one that was not
// read for the longest time makes room.
const maxPositions = 10_000

// maxPositionsFile is how long a file of positions can be, in bytes.
const maxPositionsFile = 16 << 20

// Positions is a small file of positions, one for each log by name. Many
// followers can share one; all methods may be called at the same time.
type Positions struct {
	path string
	from time.Time // when the file that was read had been saved; zero: there was none

	mu      sync.Mutex
	logs    map[string]saved
	changed bool
	saving  sync.Mutex // held before mu
}

// saved is a position in the file.
type saved struct {
	Position
	Read time.Time `json:"read"` // when it was set last
}

// positionsFile is the file's content.
type positionsFile struct {
	Format int              `json:"format"` // 1
	Saved  time.Time        `json:"saved"`
	Logs   map[string]saved `json:"logs"`
}

// ErrDamaged is what OpenPositions wraps where the file is not one of positions.
var ErrDamaged = errors.New("the file of positions is damaged")

// OpenPositions reads the file at path, which need not exist. If it is damaged
// it is renamed to path.damaged, and the error wraps ErrDamaged: the Positions
// are empty then and can be used. With any other error they are nil.
func OpenPositions(path string) (*Positions, error) {
	p := &Positions{path: path, logs: map[string]saved{}, changed: true}
	text, err := readAtMost(path, maxPositionsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("read positions: %w", err)
	}
	var file positionsFile
	if err := json.Unmarshal(text, &file); err != nil {
		return p, p.damaged(err)
	}
	if file.Format != 1 || file.Saved.IsZero() {
		return p, p.damaged(fmt.Errorf("its format is %d, want 1", file.Format))
	}
	p.from, p.changed = file.Saved, false
	maps.Copy(p.logs, file.Logs)
	return p, nil
}

func (p *Positions) damaged(cause error) error {
	aside := p.path + ".damaged"
	if err := os.Rename(p.path, aside); err != nil {
		return fmt.Errorf("read positions %q: %w: %w; remove it: %w", p.path, ErrDamaged, cause, err)
	}
	return fmt.Errorf("read positions %q: %w: %w; it is %q now, and logs are read as on a first run", p.path, ErrDamaged, cause, aside)
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most)) // what is cut is no JSON
}

// Get gives the position of a log, ok false if there is none. The followers ask
// for themselves; it is for a log that is read in another way.
func (p *Positions) Get(log string) (at Position, ok bool) {
	if p == nil {
		return Position{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.logs[log]
	return s.Position, ok
}

// Saved is when the positions that OpenPositions read had been saved; zero where
// there were none. A log that is younger was never read.
func (p *Positions) Saved() time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.from
}

// Set changes the position of a log in memory.
func (p *Positions) Set(log string, at Position) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logs[log] = saved{at, time.Now().UTC()}
	p.changed = true
	if len(p.logs) > maxPositions {
		p.forgetOldest()
	}
}

// forget drops the position of a log that was read to its end and is gone.
func (p *Positions) forget(log string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.logs, log)
	p.changed = true
}

// names lists the logs.
func (p *Positions) names() []string {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.logs))
}

func (p *Positions) forgetOldest() {
	var oldest string
	for log, s := range p.logs {
		if oldest == "" || s.Read.Before(p.logs[oldest].Read) {
			oldest = log
		}
	}
	delete(p.logs, oldest)
}

// Save takes the positions as they are now, calls flush (which may be nil) so
// that what was read up to them is safe first, and replaces the file in one
// step. An error of flush is returned and leaves the file as it was.
func (p *Positions) Save(flush func() error) error {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	file := positionsFile{Format: 1, Saved: time.Now().UTC(), Logs: maps.Clone(p.logs)}
	changed := p.changed
	p.changed = false
	p.mu.Unlock()

	err := func() error {
		if flush != nil {
			if err := flush(); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		text, err := json.MarshalIndent(file, "", " ")
		if err != nil {
			return fmt.Errorf("save positions: %w", err)
		}
		return replace(p.path, append(text, '\n'))
	}()
	if err != nil {
		p.mu.Lock()
		p.changed = p.changed || changed
		p.mu.Unlock()
	}
	return err
}

// replace writes a file so that a reader finds the old or the new one, whole,
// whatever happens meanwhile.
func replace(path string, text []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("save positions: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("save positions: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// start is where the log at path begins, whose file is info: at from if that is a
// position itself; at the one known; at its first byte if it is younger than the
// positions; else at from.
func (p *Positions) start(path string, info fileInfo, from Start) Start {
	if _, exact := from.(Position); exact {
		return from
	}
	if at, ok := p.Get(path); ok {
		return at
	}
	if p != nil && !p.from.IsZero() && info.born.After(p.from) {
		return FromBeginning
	}
	return from
}
