package logtail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"
)

const (
	journalctl = "journalctl"
	// journalPatience is how long the last read may take when following ends.
	journalPatience = 5 * time.Second
	// journalBackoff is the longest pause before journalctl is started again.
	journalBackoff = time.Minute
	// sinceCursor begins the cursor of a journal of which no entry was read yet;
	// microseconds since 1970 follow.
	sinceCursor = "since:"
	// maxComplaint is how much of what journalctl writes to its standard error
	// is kept, in bytes.
	maxComplaint = 2 << 10
)

// FollowJournal follows what the systemd unit named by cfg.Path logs, by a child
// process journalctl -o json -f, which dies with this process. Each entry is a
// Line in Format Journal, as journalctl wrote it. Line.File is "journal:" and
// the unit; Line.Offset counts the bytes read. The journal is the buffer: a slow
// handler lags, and loses only what journald removes meanwhile.
// A child that ends is noted and started again behind the last entry; so is a journal
// without an entry of the unit. The error says so where there is no journalctl.
func FollowJournal(ctx context.Context, cfg Config, h Handler) error {
	if err := prepare(&cfg, &h); err != nil {
		return err
	}
	if strings.HasPrefix(cfg.Path, "-") {
		return fmt.Errorf("follow the journal: %q is no name of a unit", cfg.Path)
	}
	path, err := exec.LookPath(journalctl)
	if err != nil {
		return fmt.Errorf("follow the journal of unit %q: no %s on this host, so systemd's journal can't be read; name the log's file instead: %w", cfg.Path, journalctl, err)
	}
	name := "journal:" + cfg.Path
	j := &journal{cfg: cfg, h: h, name: name, path: path, from: cfg.From, split: splitter{max: cfg.MaxLine, file: name}}
	j.split.line = j.line
	if at, ok := cfg.Positions.start(name, fileInfo{}, cfg.From).(Position); ok {
		j.cursor = at.Cursor
	}
	return j.run(ctx)
}

// NoJournalOf says of a unit why its log may stay empty.
const NoJournalOf = "the journal has no entry of a unit of that name, or none that this user may read (systemctl list-units has the names); one is waited for"

// JournalHas reports whether the journal has an entry of a unit that this user may read.
// The error is that of journalctl.
func JournalHas(ctx context.Context, unit string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, journalctl, "--output=json", "--quiet", "--no-pager", "--lines=1", "--unit="+unit).Output()
	if err != nil {
		return false, fmt.Errorf("look for unit %q in the journal: %w", unit, err)
	}
	return len(bytes.TrimSpace(out)) > 0, nil
}

// journal follows a unit.
type journal struct {
	cfg    Config
	h      Handler
	name   string
	path   string // of journalctl
	from   Start
	cursor string // of the last entry handed on, by this run or the one before
	split  splitter
	failed error // of the handler
}

// run starts journalctl, again whenever it ends, until ctx does; then it reads
// once more what is there.
func (j *journal) run(ctx context.Context) error {
	began := time.Now()
	if has, err := JournalHas(context.WithoutCancel(ctx), j.cfg.Path); err == nil && !has {
		j.h.Note(j.name + ": " + NoJournalOf)
	}
	if j.cursor == "" { // the next run begins here, though nothing may come
		j.cfg.Positions.Set(j.name, Position{Cursor: sinceCursor + strconv.FormatInt(began.UnixMicro(), 10)})
	}
	for pause := j.cfg.Poll; ; pause = min(2*pause, journalBackoff) {
		before := j.split.start
		why := j.child(ctx, append(j.args(began), "--follow"))
		if j.failed != nil {
			return j.failed
		}
		if ctx.Err() != nil {
			break
		}
		j.h.Note(fmt.Sprintf("%s: %s ended: %v; it is started again in %v", j.name, journalctl, why, pause))
		switch {
		case j.split.start > before:
			pause = j.cfg.Poll
		case j.cursor != "" && why != nil && strings.Contains(why.Error(), "seek to cursor"):
			j.h.Gap(Gap{File: j.name, Bytes: -1, Why: fmt.Sprintf("journalctl does not know the saved position %q; what came after it and before now was not read", j.cursor)})
			j.cursor, j.from = "", FromNow
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalPatience)
	defer cancel()
	if err := j.child(last, j.args(began)); err != nil && j.failed == nil {
		j.h.Note(fmt.Sprintf("%s: the last entries may be missing: %v", j.name, err))
	}
	return j.failed
}

// args say which entries are wanted: those behind the last one, or, before
// there is one, from where the configuration says.
func (j *journal) args(began time.Time) []string {
	args := []string{"--output=json", "--all", "--no-pager", "--unit=" + j.cfg.Path}
	since := func(t time.Time) string {
		return fmt.Sprintf("--since=@%d.%06d", t.Unix(), t.Nanosecond()/1000)
	}
	if micros, ok := strings.CutPrefix(j.cursor, sinceCursor); ok {
		at, _ := strconv.ParseInt(micros, 10, 64) // 0, the beginning, if it is damaged
		return append(args, "--no-tail", since(time.UnixMicro(at)))
	}
	if j.cursor != "" {
		return append(args, "--no-tail", "--after-cursor="+j.cursor)
	}
	switch from := j.from.(type) {
	case LastLines:
		return append(args, "--lines="+strconv.Itoa(max(0, int(from))))
	case LastDuration:
		return append(args, "--no-tail", since(began.Add(-time.Duration(from))))
	case Whence:
		if from == FromBeginning {
			return append(args, "--no-tail")
		}
	}
	return append(args, "--no-tail", since(began))
}

// child runs journalctl until it or ctx ends and hands on what it writes.
func (j *journal) child(ctx context.Context, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaint tailBuffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	started, read, ended := make(chan error), make(chan struct{}), make(chan error, 1)
	// The child dies with the thread that started it (PR_SET_PDEATHSIG), so this
	// one stays until the child has ended.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-read
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	j.failed = j.feed(out)
	if j.failed != nil {
		cancel()
	}
	close(read)
	return complaint.explain(<-ended)
}

// feed hands on whole entries only: the one that a child was writing when it was
// ended is read again.
func (j *journal) feed(out io.Reader) error {
	buf := make([]byte, recordSize)
	for {
		n, err := out.Read(buf)
		if err := j.split.feed(buf[:n]); err != nil {
			return err
		}
		if err != nil {
			j.split.rewind(j.split.start)
			return nil
		}
	}
}

func (j *journal) line(l Line) error {
	if len(l.Bytes) == 0 || l.Bytes[0] != '{' { // such as "-- Journal begins at …"
		j.h.Note(j.name + ": " + string(l.Bytes[:min(len(l.Bytes), maxComplaint)]))
		return nil
	}
	if err := j.h.Line(l); err != nil {
		return err
	}
	if cursor := gjson.GetBytes(l.Bytes, "__CURSOR").Str; cursor != "" {
		j.cursor = strings.Clone(cursor)
		j.cfg.Positions.Set(j.name, Position{Cursor: j.cursor})
	}
	return nil
}

// tailBuffer keeps the last bytes written to it.
type tailBuffer struct{ kept []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p...)
	b.kept = b.kept[max(0, len(b.kept)-maxComplaint):]
	return len(p), nil
}

// explain adds what was written to the error, nil or not.
func (b *tailBuffer) explain(err error) error {
	text := bytes.TrimSpace(b.kept)
	switch {
	case len(text) == 0:
		return err
	case err == nil:
		return errors.New(string(text))
	}
	return fmt.Errorf("%w: %s", err, text)
}
