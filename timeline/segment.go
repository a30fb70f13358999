package timeline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A long recording is cut into segments, files that each begin with a header:
// PREFIX-timeline.jsonl, PREFIX-timeline-0002.jsonl and so on. A segment that is
// closed is compressed (RFC 8878) and has ".zst" at the end of its name.
const packed = ".zst"

var segmentFile = regexp.MustCompile(`^(.+)-timeline(?:-(\d{4,9}))?\.jsonl(\.zst)?$`)

// MaxSegment is the greatest size that a segment may be given, in bytes of text.
// A reader unpacks little more than that of one, whatever the file says: it may
// come from a stranger.
const MaxSegment = 256 << 20

// maxUnpacked leaves room for what the recorder had in memory when the segment
// was full.
const maxUnpacked = MaxSegment + 2*maxPending + maxLine

// maxWindow bounds the decoder's memory (RFC 8878, section 3.1.1.1.2). The
// recorder uses packWindow.
const (
	maxWindow  = 8 << 20
	packWindow = 1 << 20
)

// segment is a file of a recording.
type segment struct {
	path   string
	number int // from 1
	packed bool
}

// segmentPath is the file of the given segment of a recording.
func segmentPath(prefix string, number int) string {
	if number <= 1 {
		return prefix + Suffix
	}
	return fmt.Sprintf("%s-timeline-%04d.jsonl", prefix, number)
}

// splitSegment takes a file name apart; ok is false for any other file.
func splitSegment(name string) (prefix string, number int, isPacked, ok bool) {
	if !strings.Contains(name, "-timeline") {
		return "", 0, false, false
	}
	m := segmentFile.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false, false
	}
	number = 1
	if m[2] != "" {
		number, _ = strconv.Atoi(m[2])
	}
	return m[1], number, m[3] != "", true
}

// segments are the files of the recording that path is one of, in order; path
// alone where its name is not that of a recording's. Where a segment is there
// twice, its recorder was killed while it compressed it: both are whole.
func segments(path string) ([]segment, error) {
	dir, base := filepath.Split(path)
	prefix, _, _, ok := splitSegment(base)
	if !ok {
		return []segment{{path: path, number: 1, packed: filepath.Ext(path) == packed}}, nil
	}
	if isSnapshot(path) { // it has one, and a folder may hold thousands
		return []segment{{path: path, number: 1}}, nil
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("look for the recording's files: %w", err)
	}
	var list []segment
	for _, e := range entries {
		if p, number, isPacked, ok := splitSegment(e.Name()); ok && p == prefix {
			list = append(list, segment{path: filepath.Join(dir, e.Name()), number: number, packed: isPacked})
		}
	}
	slices.SortFunc(list, func(a, b segment) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return len(a.path) - len(b.path) // what is not compressed comes first
	})
	list = slices.CompactFunc(list, func(a, b segment) bool { return a.number == b.number })
	if len(list) == 0 {
		return nil, fmt.Errorf("open recording: %w", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist})
	}
	return list, nil
}

// open opens the segment's text.
func (s segment) open() (io.ReadCloser, error) {
	f, err := openRegular(s.path)
	if errors.Is(err, fs.ErrNotExist) && !s.packed { // compressed since it was listed: it is recorded to
		return segment{path: s.path + packed, packed: true}.open()
	}
	if err != nil || !s.packed {
		return f, err
	}
	text, err := unpack(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &unpacking{text: text, file: f}, nil
}

// unpack reads compressed text in bounded memory.
func unpack(r io.Reader) (*zstd.Decoder, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("uncompress recording: %w", err)
	}
	return d, nil
}

// unpacking is the text of a compressed segment.
type unpacking struct {
	text *zstd.Decoder
	file *os.File
	read int64
}

var errTooBig = errors.New("it unpacks to more than any recorder writes into one file")

func (u *unpacking) Read(b []byte) (int, error) {
	if u.read >= maxUnpacked {
		return 0, errTooBig
	}
	n, err := u.text.Read(b[:min(int64(len(b)), maxUnpacked-u.read)])
	u.read += int64(n)
	return n, err
}

func (u *unpacking) Close() error {
	u.text.Close()
	return u.file.Close()
}
