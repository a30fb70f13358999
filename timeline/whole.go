package timeline

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// WriteWhole writes a file of a recording as a whole or not at all: it gets its name
// when write has returned nil. Until then it is called Partial, which the next
// recorder removes where this one was killed.
func WriteWhole(path string, write func(io.Writer) error) error {
	part := path + Partial
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("write file as a whole: %w", err)
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		os.Remove(part)
		return fmt.Errorf("write file as a whole: %w", err)
	}
	return nil
}
