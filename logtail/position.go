package logtail

import "hash/crc32"

// Position is a place in a log from which a later run goes on. As a Start it
// continues where an earlier Follow ended: Offset is the end of the last whole
// line of the newest file (Line.Offset + Line.Size).
// If the name has been rotated away since, the file is looked for beside it
// (name.1, name-20261121), and every later one that is still there is read too.
type Position struct {
	Inode  uint64 `json:"inode,omitempty"`
	Offset int64  `json:"offset_bytes,omitempty"`
	// Mark is a sum of the bytes before Offset. By it a file that has the number
	// of another is told from it, and the copy that copytruncate made is found.
	// Zero: not known.
	Mark Mark `json:"mark,omitzero"`
	// Cursor is the place in a log that has no offsets: that of journalctl, or
	// of the kernel's log the boot id and the number of the next record.
	Cursor string `json:"cursor,omitempty"`
}

func (Position) start() {}

// Mark is a sum of the bytes before a position.
type Mark struct {
	Bytes  int    `json:"bytes"` // how many, at most 256
	CRC32C uint32 `json:"crc32c"`
}

// tellingMark is how many bytes a mark must have to tell a file by itself.
const tellingMark = 64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func markOf(b []byte) Mark { return Mark{Bytes: len(b), CRC32C: crc32.Checksum(b, castagnoli)} }

// at is the position behind the last whole line that was handed on.
func (f *file) at() (Position, bool) {
	p := Position{Inode: f.info.id.ino, Offset: f.split.start}
	if p.Offset == f.off {
		p.Mark = markOf(f.mark)
		return p, true
	}
	before := make([]byte, min(p.Offset, markSize))
	n, err := f.pread(before, p.Offset-int64(len(before)))
	if err != nil || n < len(before) {
		return Position{}, false // truncated meanwhile
	}
	p.Mark = markOf(before)
	return p, true
}

// fits reports whether a line of f begins at the position and the bytes before
// it are those of the mark, and moves there. Otherwise f is at its beginning.
func (f *file) fits(p Position) bool {
	if p.Offset >= 0 && f.seek(p.Offset) && f.atLineStart() {
		k := p.Mark.Bytes
		if k == 0 || 0 < k && k <= len(f.mark) && markOf(f.mark[len(f.mark)-k:]) == p.Mark {
			return true
		}
	}
	f.seek(0)
	return false
}

// save puts the position reached in f, unless that of a later file is known.
func (t *tail) save(f *file) {
	if t.cfg.Positions == nil || f.serial < t.reached {
		return
	}
	if at, ok := f.at(); ok {
		t.reached = f.serial
		t.cfg.Positions.Set(t.path, at)
	}
}
