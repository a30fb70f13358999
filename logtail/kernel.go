package logtail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	kernelLog  = "/dev/kmsg"
	bootIDFile = "/proc/sys/kernel/random/boot_id"

	// recordSize is more than a record of /dev/kmsg has, in bytes
	// (kernel/printk/internal.h, PRINTK_MESSAGE_MAX; 8 KiB before Linux 6.4).
	recordSize = 64 << 10
)

// FollowKernel follows the kernel's log, /dev/kmsg unless cfg.Path names
// another. Each line of a record is a Line in Format Kernel: the message, then
// its properties, which begin with a space. Line.Offset counts the bytes read.
// The kernel's ring is the buffer: where it was overrun while the handler was
// busy, the numbers of the records tell how many are lost, and a Gap says so.
// It needs root or CAP_SYSLOG where kernel.dmesg_restrict is 1.
func FollowKernel(ctx context.Context, cfg Config, h Handler) error {
	cfg.Path = cmp.Or(cfg.Path, kernelLog)
	if err := prepare(&cfg, &h); err != nil {
		return err
	}
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return fmt.Errorf("follow the kernel's log: read the boot id: %w", err)
	}
	k := &kernel{
		cfg: cfg, h: h, boot: strings.TrimSpace(string(boot)), buf: make([]byte, recordSize),
		split: splitter{max: cfg.MaxLine, line: h.Line, file: cfg.Path},
	}
	if k.fd, err = unix.Open(cfg.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		err = &os.PathError{Op: "open", Path: cfg.Path, Err: err}
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w; it takes root or CAP_SYSLOG", err)
		}
		return fmt.Errorf("follow the kernel's log: %w", err)
	}
	if err := k.begin(); err != nil {
		_ = unix.Close(k.fd)
		return fmt.Errorf("follow the kernel's log: %w", err)
	}
	f := os.NewFile(uintptr(k.fd), cfg.Path)
	defer f.Close()
	return k.run(ctx, f)
}

// kernel follows the kernel's log.
type kernel struct {
	cfg   Config
	h     Handler
	boot  string
	fd    int
	buf   []byte
	split splitter

	wanted func(record) bool // false for records that come before the start; nil: all are
	next   uint64            // number of the record expected
	known  bool              // next is
}

// begin sets the place of the first read. LastLines counts records.
func (k *kernel) begin() error {
	switch from := k.cfg.Positions.start(k.cfg.Path, fileInfo{}, k.cfg.From).(type) {
	case Whence:
		switch {
		case from == FromNow && k.cfg.Positions != nil: // the next run begins here, though nothing may come
			if numbers := k.census(); len(numbers) > 0 {
				k.expect(numbers[len(numbers)-1] + 1)
			}
		case from == FromNow:
			return k.seek(io.SeekEnd)
		}
	case LastLines:
		numbers := k.census()
		first := numbers[max(0, len(numbers)-int(from)):]
		if len(first) == 0 {
			return k.seek(io.SeekEnd)
		}
		k.wanted = func(r record) bool { return r.number >= first[0] }
		return k.seek(io.SeekStart)
	case LastDuration:
		since := uptime() - time.Duration(from)
		k.wanted = func(r record) bool { return r.uptime >= since }
	case Position:
		k.resume(from.Cursor)
	}
	return nil
}

func (k *kernel) seek(whence int) error {
	if _, err := unix.Seek(k.fd, 0, whence); err != nil {
		return fmt.Errorf("go to its place: %w", err)
	}
	return nil
}

// resume begins behind the record that was read last, in this boot.
func (k *kernel) resume(cursor string) {
	boot, number, _ := strings.Cut(cursor, ":")
	next, err := strconv.ParseUint(number, 10, 64)
	switch {
	case err != nil:
		k.gap(0, fmt.Sprintf("the saved position %q is none of the kernel's log; it is read from its beginning", cursor))
	case boot != k.boot:
		k.gap(0, "the host was started again: what the kernel logged before that and was not read is lost")
	default:
		k.next, k.known = next, true
		k.wanted = func(r record) bool { return r.number >= next }
	}
}

// census gives the numbers of the records that are in the ring.
func (k *kernel) census() (numbers []uint64) {
	for {
		n, err := unix.Read(k.fd, k.buf)
		switch {
		case err == unix.EPIPE || err == unix.EINTR:
			continue
		case err != nil || n == 0:
			return numbers
		}
		if r, err := parseRecord(k.buf[:n]); err == nil {
			numbers = append(numbers, r.number)
		}
	}
}

// run reads until ctx ends, which sets a deadline, and then what is left.
func (k *kernel) run(ctx context.Context, f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("follow the kernel's log: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })
	defer stop()
	for {
		var n int
		var failed error
		waiting := conn.Read(func(uintptr) bool {
			n, failed = unix.Read(k.fd, k.buf)
			return failed != unix.EAGAIN
		})
		if waiting != nil { // the deadline has passed: once more, without waiting
			if n, failed = unix.Read(k.fd, k.buf); failed == unix.EAGAIN {
				return nil
			}
		}
		switch {
		case failed == unix.EPIPE || failed == unix.EINTR:
			continue // overrun: the number of the next record tells by how many
		case failed != nil:
			return fmt.Errorf("read the kernel's log: %w", failed)
		case n == 0:
			return fmt.Errorf("read the kernel's log: %s ended", k.cfg.Path)
		}
		if err := k.record(k.buf[:n]); err != nil {
			return err
		}
	}
}

// record hands on the lines of a record.
func (k *kernel) record(b []byte) error {
	r, err := parseRecord(b)
	if err != nil {
		return k.split.feed(b) // for the reader to judge
	}
	if k.wanted != nil && !k.wanted(r) {
		return nil
	}
	if k.known && r.number > k.next {
		k.gap(int64(r.number-k.next), fmt.Sprintf("the kernel's ring was overrun: %d records were overwritten before they were read", r.number-k.next))
	}
	if err := k.split.feed(b); err != nil {
		return err
	}
	k.expect(r.number + 1)
	return nil
}

// expect sets the number of the next record, which is the position.
func (k *kernel) expect(next uint64) {
	k.next, k.known = next, true
	k.cfg.Positions.Set(k.cfg.Path, Position{Cursor: fmt.Sprintf("%s:%d", k.boot, next)})
}

func (k *kernel) gap(lines int64, why string) {
	k.h.Gap(Gap{File: k.cfg.Path, Bytes: -1, Lines: lines, Why: why})
}

// uptime is the time since boot as the kernel's log counts it.
func uptime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // can't fail for this clock
	return time.Duration(ts.Nano())
}
