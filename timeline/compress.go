package timeline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// compress puts a compressed file in the place of the plain one. Whenever it is
// killed, one of the two is there and whole: the new one gets its name once it is
// on the disk, and only then the old one goes.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compress segment: %w", err)
	}
	defer in.Close()
	part := path + packed + Partial
	out, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("compress segment: %w", err)
	}
	if err = errors.Join(pack(out, in), out.Sync(), out.Close()); err == nil {
		err = os.Rename(part, path+packed)
	}
	if err != nil {
		os.Remove(part)
		return fmt.Errorf("compress segment: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("compress segment: %w", err)
	}
	return nil
}

func pack(out io.Writer, in io.Reader) error {
	// One thread: the recorder must not take the host's time.
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, in)
	return errors.Join(err, z.Close())
}

// syncDir makes new names in a folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
