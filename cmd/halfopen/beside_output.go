package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// pass makes the command's output go to both the evidence and where it went. Done
// waits until all of it has, but not for what was left running.
func pass(cmd *exec.Cmd, kept io.Writer, stdout, stderr io.Writer) (done func(), err error) {
	var files, ends []*os.File
	var copying sync.WaitGroup
	for _, to := range []struct {
		w   io.Writer
		std *io.Writer
	}{{stdout, &cmd.Stdout}, {stderr, &cmd.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep the command's output: %w", err), closeAll(append(files, ends...)))
		}
		files, ends, *to.std = append(files, r), append(ends, w), w
		copying.Go(func() { _, _ = io.Copy(io.MultiWriter(kept, patient{to.w}), r) })
	}
	return func() {
		_ = closeAll(ends)
		for _, f := range files {
			_ = f.SetReadDeadline(time.Now().Add(time.Second))
		}
		copying.Wait()
		_ = closeAll(files)
	}, nil
}

// patient is a writer whose reader may have gone: the rest is kept all the same.
type patient struct{ io.Writer }

func (p patient) Write(b []byte) (int, error) {
	_, _ = p.Writer.Write(b)
	return len(b), nil
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}
