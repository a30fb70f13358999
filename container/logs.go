package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Output is a line that a container wrote, or a part of one, as its engine keeps it.
type Output struct {
	Time    time.Time // when the engine took it, UTC; zero if RawTime can't be read
	RawTime string    // as the engine writes it
	Stream  string    // stdout or stderr; stdout for all where the container has a terminal
	Text    []byte    // without newline, at most 1 MiB of it; valid only during the call
	Partial bool      // the engine split the line (Docker at 16 KiB): the stream's next Output goes on
	Skipped int64     // bytes that Text leaves out
}

// LogStart says where in the engine's copy of the output reading begins; the
// zero LogStart is the first line that it has kept.
type LogStart struct {
	Since time.Time // lines taken before are left out
	Last  int       // above 0: all but the last so many lines are left out
	// After, if not empty, is a place that LogHandler.Place was told: what is behind
	// it is read, whatever Since and Last say.
	After string
	// Made, if set, is a time: of a container made later every line is read.
	Made time.Time
}

// LogHandler receives what Logs reads. All calls come from the goroutine that
// runs Logs.
type LogHandler struct {
	Line func(Output) error // an error ends Logs, which returns it
	Gap  func(why string)   // lines were lost, nobody knows how many
	Note func(string)       // the engine can't be reached, the container was removed
	// Place, if set, is told the place behind the last line, for LogStart.After of a
	// later run: at the start where it is known, before each wait for more lines, and
	// at the end.
	Place func(string)
}

// errUnreadable says that an engine will never tell what a container wrote.
var errUnreadable = errors.New("the engine keeps no output of it that could be read: run it with another --log-driver")

// Logs follows the output of a container through the engine that runs it,
// whatever its log driver is, until ctx ends or the container is removed. It
// goes on over restarts of the container and of the engine: no line is handed
// on twice, and none is left out that the engine has kept. With a terminal, a
// line of more than 16 KiB has the engine's time stamps in its middle.
//
// The error is that of h.Line, ErrNotFound where no engine knows the container
// at first, or that its log driver keeps nothing.
func Logs(ctx context.Context, nameOrID string, from LogStart, h LogHandler) error {
	return Host{}.Logs(ctx, nameOrID, from, h)
}

// LogsNow is Logs up to the last line that the engine has kept so far. That an engine
// refuses, or goes away, is an error here.
func LogsNow(ctx context.Context, nameOrID string, from LogStart, h LogHandler) error {
	return Host{}.LogsNow(ctx, nameOrID, from, h)
}

// LogsNow is the package's LogsNow on another host.
func (h Host) LogsNow(ctx context.Context, nameOrID string, from LogStart, lh LogHandler) error {
	r := logReader{LogHandler: lh, once: true}
	l, err := r.start(ctx, h, nameOrID, from)
	if err == nil {
		defer r.tell()
		err = r.stream(ctx, l)
	}
	if ctx.Err() != nil || err == nil {
		return nil
	}
	if r.refused != nil {
		return r.refused
	}
	return fmt.Errorf("read the output of container %q: %w", nameOrID, err)
}

// start finds the container and the place of the first line.
func (r *logReader) start(ctx context.Context, h Host, nameOrID string, from LogStart) (life, error) {
	l, err := r.meet(ctx, h, nameOrID)
	if err != nil {
		return l, err
	}
	r.begin(from, l)
	r.moved = true
	r.tell()
	return l, nil
}

// Logs is the package's Logs on another host.
func (h Host) Logs(ctx context.Context, nameOrID string, from LogStart, lh LogHandler) error {
	r := logReader{LogHandler: lh}
	if _, err := r.start(ctx, h, nameOrID, from); err != nil {
		return fmt.Errorf("read the output of container %q: %w", nameOrID, err)
	}
	defer r.tell()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := r.live(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNotFound):
			r.trouble("it was removed")
			return nil
		case r.refused != nil:
			return r.refused
		case errors.Is(err, errUnreadable):
			return fmt.Errorf("read the output of container %q: %w", nameOrID, err)
		case err != nil:
			r.trouble(err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// logReader follows one container.
type logReader struct {
	LogHandler
	engine  engine
	id      string
	recent  recent
	read    string // start of the life whose output has been read to its end
	said    string // the last trouble
	refused error  // of Line
	once    bool   // what is there is read, and no more waited for
	moved   bool   // lines have come since the last place was told
}

// life is what an engine says of a container.
type life struct {
	id      string
	running bool
	created time.Time // zero where the engine does not tell
	started string    // its present life's start, or the last one's
	tty     bool
	docker  bool // the engine is Docker
}

// meet finds the engine that knows the container.
func (r *logReader) meet(ctx context.Context, h Host, nameOrID string) (life, error) {
	if err := checkName(nameOrID); err != nil {
		return life{}, err
	}
	engines, err := h.engines()
	if err != nil {
		return life{}, err
	}
	var errs []error
	for _, e := range engines {
		l, err := e.life(ctx, nameOrID)
		if err == nil {
			r.engine, r.id = e, l.id
			return l, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.socket, err))
	}
	return life{}, silence{errs}
}

// begin sets the place of the first line.
func (r *logReader) begin(from LogStart, l life) {
	if from.After == "" {
		if !from.Made.IsZero() && l.created.After(from.Made) {
			from = LogStart{}
		}
		r.recent = newRecent(from)
		return
	}
	r.recent = newRecent(LogStart{})
	p, err := parsePlace(from.After)
	if err != nil {
		r.Gap(fmt.Sprintf("the saved place %.80q is none of an engine's log: it is read from its first line: %v", from.After, err))
		return
	}
	r.recent.resume(p)
}

// live reads the output for as long as the engine sends it. Of a stopped
// container it is read once; the engine ends the stream by itself.
func (r *logReader) live(ctx context.Context) error {
	for {
		l, err := r.engine.life(ctx, r.id)
		if err != nil || !l.running && l.started == r.read {
			return err
		}
		began := time.Now()
		if err := r.stream(ctx, l); err != nil {
			return err
		}
		if !l.running {
			r.read = l.started
		}
		if time.Since(began) < pollEvery {
			return nil
		}
	}
}

// life asks for what Logs must know; inspect is for who looks for a process.
func (e engine) life(ctx context.Context, nameOrID string) (life, error) {
	body, server, err := e.describe(ctx, nameOrID)
	if err != nil {
		return life{}, err
	}
	j, err := object(body)
	if err != nil {
		return life{}, fmt.Errorf("read answer: %w", err)
	}
	l := life{
		id:      j.Get("Id").String(),
		running: j.Get("State.Running").Bool(),
		started: j.Get("State.StartedAt").String(),
		tty:     j.Get("Config.Tty").Bool(),
		docker:  !strings.HasPrefix(server, libpod),
	}
	l.created, _ = time.Parse(time.RFC3339Nano, j.Get("Created").String())
	if !fullID(l.id) {
		return life{}, fmt.Errorf("read answer: container id %q: want %d hexadecimal digits", l.id, idLen)
	}
	return l, nil
}

// stream reads one answer of the engine's to its end.
func (r *logReader) stream(ctx context.Context, l life) error {
	q := url.Values{"stdout": {"1"}, "stderr": {"1"}, "timestamps": {"1"}}
	if !r.once {
		q.Set("follow", "1")
	}
	from := r.recent.begin()
	if !from.Since.IsZero() {
		q.Set("since", fmt.Sprintf("%d.%09d", from.Since.Unix(), from.Since.Nanosecond()))
	}
	if from.Last > 0 {
		q.Set("tail", strconv.Itoa(from.Last))
	}
	began := time.Now()
	resp, err := r.engine.get(ctx, "/containers/"+r.id+"/logs?"+q.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case resp.StatusCode == http.StatusNotImplemented:
		return errUnreadable
	case resp.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what came of it is told
		return fmt.Errorf("status %d: %.200q", resp.StatusCode, gjson.GetBytes(body, "message").String())
	}
	if r.said != "" {
		r.said = ""
		r.Note(fmt.Sprintf("output of container %.12s: it is read again", r.id))
	}
	body := telling{resp.Body, r.tell}
	if l.tty {
		err = readTerminal(body, !l.running, r.take)
	} else {
		err = readFrames(body, l.docker, r.take)
	}
	r.recent.ended(began)
	return err
}

// take hands a line on, unless an answer before has brought it.
func (r *logReader) take(o Output) error {
	fresh, lost := r.recent.take(o)
	if lost {
		r.Gap("the engine no longer has the line that was read last: its log was emptied or rotated meanwhile")
	}
	if !fresh {
		return nil
	}
	r.refused = r.Line(o)
	r.moved = true
	return r.refused
}

// tell tells the place that was reached.
func (r *logReader) tell() {
	if r.Place == nil || !r.moved || r.refused != nil {
		return
	}
	if p, ok := r.recent.place(); ok {
		r.moved = false
		r.Place(p.String())
	}
}

// telling is an engine's answer, of which all lines so far are taken when more of
// it is asked for.
type telling struct {
	io.Reader
	tell func()
}

func (t telling) Read(p []byte) (int, error) {
	t.tell()
	return t.Reader.Read(p)
}

// trouble notes why nothing is read, once until the reason changes.
func (r *logReader) trouble(why string) {
	if r.said != why {
		r.said = why
		r.Note(fmt.Sprintf("output of container %.12s: %s", r.id, why))
	}
}
