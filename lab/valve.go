package lab

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Valve is in a program's output. Shut, it makes the program wait in its next
// writes, as a full disk's queue or a slow reader does.
type Valve struct{ shut sync.Mutex }

// Shut lets no more through.
func (v *Valve) Shut() { v.shut.Lock() }

// Open lets through what waited, and what follows.
func (v *Valve) Open() { v.shut.Unlock() }

// into makes the end of a pipe to write to. What is written is appended to the
// file; little more than a page is held on the way. The goroutine ends once all writers
// have closed their end.
func (v *Valve) into(file string) (*os.File, error) {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	page := os.Getpagesize() // the least that a pipe holds, pipe(7)
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, page); err != nil {
		out.Close()
		r.Close()
		w.Close()
		return nil, fmt.Errorf("make a small pipe: %w", err)
	}
	go func() {
		defer out.Close()
		defer r.Close()
		buf := make([]byte, 512) // what is held here is beyond the pipe's page
		for {
			n, err := r.Read(buf)
			v.shut.Lock()
			out.Write(buf[:n])
			v.shut.Unlock()
			if err != nil {
				if err != io.EOF {
					fmt.Fprintln(out, err)
				}
				return
			}
		}
	}()
	return w, nil
}
