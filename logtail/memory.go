package logtail

import "time"

// maxMemory is how many files are remembered, those that are held not counted.
const maxMemory = 1024

// memory knows the files that were read, so that none is read twice.
type memory struct {
	files  map[fileID]memo
	order  []remembered // those that are not held, as they became so
	serial int
}

type memo struct {
	born   time.Time
	held   bool
	copy   bool  // it is the copy that copytruncate made of one that was read
	end    int64 // where reading ended, of one that is held no more
	serial int
}

// remembered is a memo of a file, unless that has another serial by now.
type remembered struct {
	id     fileID
	serial int
}

func newMemory() *memory { return &memory{files: map[fileID]memo{}} }

func (m *memory) hold(info fileInfo)    { m.put(info, memo{held: true}) }
func (m *memory) release(f *file)       { m.put(f.info, memo{end: f.off}) }
func (m *memory) ignore(info fileInfo)  { m.put(info, memo{end: info.size}) }
func (m *memory) knows(i fileInfo) bool { _, ok := m.get(i); return ok }

func (m *memory) copied(info fileInfo) {
	if f, ok := m.get(info); !ok || !f.copy {
		m.put(info, memo{copy: true})
	}
}

// get gives what is known of a file; a number used again has another birth.
func (m *memory) get(info fileInfo) (memo, bool) {
	f, ok := m.files[info.id]
	return f, ok && f.born.Equal(info.born)
}

func (m *memory) put(info fileInfo, f memo) {
	m.serial++
	f.born, f.serial = info.born, m.serial
	m.files[info.id] = f
	if f.held {
		return
	}
	m.order = append(m.order, remembered{info.id, m.serial})
	if len(m.order) > maxMemory {
		oldest := m.order[0]
		m.order = m.order[1:]
		if m.files[oldest.id].serial == oldest.serial {
			delete(m.files, oldest.id)
		}
	}
}
