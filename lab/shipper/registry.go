package shipper

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// position is a place in the input.
type position struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"` // bytes
}

// registry remembers, across restarts, who this shipper is and up to where its input is acknowledged.
type registry struct {
	path string // "": remembers nothing
	log  *logger

	mu              sync.Mutex
	state           registryState
	written, failed int
}

type registryState struct {
	UUID     string   `json:"uuid"`
	Position position `json:"position"`
}

// openRegistry reads what an earlier run left in dir. A file that can't be understood is an error: to begin
// anew would ship everything twice.
func openRegistry(dir string, log *logger) (*registry, error) {
	r := &registry{log: log, state: registryState{UUID: newUUID()}}
	if dir == "" {
		return r, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of the registry: %w", err)
	}
	r.path = filepath.Join(dir, "registry.json")
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.write()
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	if err := json.Unmarshal(text, &r.state); err != nil {
		return nil, fmt.Errorf("parse registry %q: %w; delete it to ship the input from its beginning", r.path, err)
	}
	return r, nil
}

func (r *registry) position() position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Position
}

// acked notes that everything before p is acknowledged. As in Filebeat (registry.flush 0s) it is written at once.
func (r *registry) acked(p position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Position = p
	if r.path == "" {
		return
	}
	if err := r.write(); err != nil {
		r.failed++
		r.log.error(siteRegistrar, "%v", err)
		return
	}
	r.written++
}

func (r *registry) write() error {
	text, err := json.Marshal(r.state)
	if err != nil {
		return fmt.Errorf("encode registry: %w", err)
	}
	// Never half a registry: a process killed here leaves the former one.
	if err := os.WriteFile(r.path+".new", text, 0o644); err != nil {
		return fmt.Errorf("write registry: %w", err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return fmt.Errorf("replace registry: %w", err)
	}
	return nil
}

func (r *registry) uuid() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.UUID
}

// writes says how often the file was written and could not be; not ok where there is none.
func (r *registry) writes() (written, failed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written, r.failed, r.path != ""
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
