package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Ring writes packets of any number of places into pcapng files of a bounded size,
// and removes the oldest. Each file can be read alone. The disk is given whole
// blocks, so that a file whose writer was killed can be read to its end. Its
// methods may be called at once.
type Ring struct {
	Name func(n int) string // path of the n-th file, from 1
	Size int64              // bytes, after which the next file is begun; 0: any
	Keep int                // files; 0: all
	Tool string             // named in each file

	// Closed and Removed are told of files. They must not call the ring.
	Closed, Removed func(File)

	mu    sync.Mutex
	files []File // the last one is being written
	out   *os.File
	ng    *pcapgo.NgWriter
	block bytes.Buffer // whole blocks that are not in the file yet
	ids   map[interfaceOf]int
	n     int
	err   error
}

// File is one of a ring.
type File struct {
	Path        string
	Packets     uint64
	Bytes       int64
	First, Last time.Time // of its packets
}

type interfaceOf struct {
	place, name string
	ethernet    bool
}

const (
	writeBytes = 64 << 10
	// maxInterfaces is how many a file has blocks for; then the next is begun.
	maxInterfaces = 4096
)

// Write adds a packet that was seen at a place. After an error, which is returned
// once, the ring takes no more.
func (r *Ring) Write(place string, p Packet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil
	}
	return r.failed(r.add(interfaceOf{place, p.Interface, p.Ethernet}, p))
}

func (r *Ring) failed(err error) error {
	if err != nil {
		r.err = err
		if r.out != nil {
			err = errors.Join(err, r.end())
		}
	}
	return err
}

func (r *Ring) add(at interfaceOf, p Packet) error {
	if r.out != nil && (r.Size > 0 && r.file().Bytes+int64(r.block.Len()) >= r.Size || len(r.ids) == maxInterfaces) {
		if err := r.end(); err != nil {
			return err
		}
	}
	id, known := r.ids[at]
	if r.out == nil || !known {
		var err error
		if id, err = r.describe(at); err != nil {
			return err
		}
	}
	info := gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Raw), Length: p.Length, InterfaceIndex: id}
	flags := pcapgo.NgEpbFlags{Direction: map[Way]pcapgo.NgEpbFlag{In: pcapgo.NgEpbFlagDirectionInbound, Out: pcapgo.NgEpbFlagDirectionOutbound}[p.Way]}
	if err := r.ng.WritePacketWithOptions(info, p.Raw, pcapgo.NgPacketOptions{Flags: &flags}); err != nil {
		return fmt.Errorf("write packet: %w", err)
	}
	if err := r.ng.Flush(); err != nil { // into block
		return fmt.Errorf("write packet: %w", err)
	}
	f := r.file()
	if f.Packets++; f.Packets == 1 {
		f.First = p.Time
	}
	f.Last = p.Time
	if r.block.Len() >= writeBytes {
		return r.flush()
	}
	return nil
}

func (r *Ring) file() *File { return &r.files[len(r.files)-1] }

// describe adds the block of an interface, in a new file where there is none.
func (r *Ring) describe(at interfaceOf) (id int, err error) {
	link := layers.LinkTypeEthernet
	if !at.ethernet {
		link = layers.LinkTypeRaw
	}
	intf := pcapgo.NgInterface{
		Name: at.place + ":" + at.name, Description: "headers of TCP packets, without payload", LinkType: link, SnapLength: snapLength, OS: "Linux",
	}
	if r.out == nil {
		if err = r.begin(intf); err != nil {
			return 0, err
		}
	} else if id, err = r.ng.AddInterface(intf); err != nil {
		return 0, fmt.Errorf("describe interface: %w", err)
	}
	r.ids[at] = id
	return id, nil
}

func (r *Ring) begin(first pcapgo.NgInterface) (err error) {
	r.n++
	path := r.Name(r.n)
	if r.out, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640); err != nil {
		r.out = nil
		return fmt.Errorf("make capture file: %w", err)
	}
	r.files, r.ids = append(r.files, File{Path: path}), map[interfaceOf]int{}
	r.block.Reset()
	r.ng, err = pcapgo.NewNgWriterInterface(&r.block, first, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: r.Tool, OS: "Linux"}})
	if err != nil {
		return fmt.Errorf("begin capture file: %w", err)
	}
	for r.Keep > 0 && len(r.files) > r.Keep {
		oldest := r.files[0]
		r.files = r.files[1:]
		if err := os.Remove(oldest.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the oldest capture file: %w", err)
		}
		if r.Removed != nil {
			r.Removed(oldest)
		}
	}
	return nil
}

// flush hands whole blocks to the file. What the disk did not take whole is taken
// back.
func (r *Ring) flush() error {
	if r.out == nil || r.block.Len() == 0 {
		return nil
	}
	f := r.file()
	n, err := r.out.Write(r.block.Bytes())
	if err != nil {
		_ = r.out.Truncate(f.Bytes)
		r.block.Reset()
		return fmt.Errorf("write capture file: %w", err)
	}
	f.Bytes += int64(n)
	r.block.Reset()
	return nil
}

func (r *Ring) end() error {
	err := r.flush()
	if cerr := r.out.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close capture file: %w", cerr)
	}
	r.out = nil
	clear(r.ids)
	if r.Closed != nil {
		r.Closed(*r.file())
	}
	return err
}

// Flush hands what waits to the file.
func (r *Ring) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil
	}
	return r.failed(r.flush())
}

// Close ends the last file.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.out == nil {
		return nil
	}
	return r.end()
}
