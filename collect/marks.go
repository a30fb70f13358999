package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"halfopen/clock"
	"halfopen/timeline"
)

// markSocket ends the name of the socket where a recorder takes marks; it stands
// beside the evidence while the recorder runs.
const markSocket = "-mark.sock"

// Remark is what "halfopen mark" sends, and Receipt is the answer, each as one
// JSON object in one packet. A Remark without text and drop only asks who is
// there.
type Remark struct {
	Text       string        `json:"text,omitempty"`
	Drop       string        `json:"drop,omitempty"`  // as in timeline.Mark
	Table      string        `json:"table,omitempty"` // as in timeline.Mark
	Called     time.Time     `json:"called"`
	CalledMono time.Duration `json:"called_mono_ns"`
}

// Receipt says what became of a Remark.
type Receipt struct {
	Recording string `json:"recording"`        // prefix of its files
	Record    uint64 `json:"record,omitempty"` // number of the mark
	Note      string `json:"note,omitempty"`   // something that is odd about it
	Error     string `json:"error,omitempty"`
}

// maxPhases is how many phases wait while the raw evidence of one is kept.
const maxPhases = 16

// Limits of a Remark.
const (
	maxRemark  = 4 << 10 // bytes of text
	maxPacket  = 4 * maxRemark
	markWithin = 2 * time.Second
	// maxCalledAgo: a call that is said to be longer ago, or yet to come, was timed
	// by another clock, in a time namespace of its own.
	maxCalledAgo = 10 * time.Second
)

// Marks takes remarks from other programs of the same user.
type Marks struct {
	path string
	l    *net.UnixListener
	// windows, where not nil, become the drop window of the recording.
	windows *markedWindows
	dropped bool
}

// OpenMarks listens for remarks. Where windows is true, those about drops are
// written to the recording's drop window, and start its phases.
func OpenMarks(rec *Recorder, windows bool) (*Marks, error) {
	path, err := filepath.Abs(rec.Path(strings.TrimPrefix(markSocket, "-")))
	if err != nil {
		return nil, fmt.Errorf("listen for marks: %w", err)
	}
	m := &Marks{path: path}
	short, done, err := shortPath(path)
	if err != nil {
		return nil, fmt.Errorf("listen for marks: %w", err)
	}
	defer done()
	// The mode of the descriptor becomes that of the file (unix_bind in
	// net/unix/af_unix.c): there is no moment at which it is open to others.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var cherr error
		err := raw.Control(func(fd uintptr) { cherr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, cherr)
	}}
	l, err := config.Listen(context.Background(), "unixpacket", short)
	if err != nil {
		return nil, fmt.Errorf("listen for marks: %w", err)
	}
	m.l = l.(*net.UnixListener)
	m.l.SetUnlinkOnClose(false) // by us, by its real name
	if uid, gid, ok := caller(); ok {
		err = os.Lchown(path, uid, gid)
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("listen for marks: %w", err)
	}
	if windows {
		m.windows = &markedWindows{}
	}
	return m, nil
}

// Path is the socket.
func (m *Marks) Path() string { return m.path }

func (m *Marks) close() {
	os.Remove(m.path)
	m.l.Close()
}

// Run takes remarks until ctx ends.
func (m *Marks) Run(ctx context.Context, rec *Recorder) error {
	defer m.close()
	stop := context.AfterFunc(ctx, func() { m.l.SetDeadline(time.Now()) })
	defer stop()
	drops := make(chan string, maxPhases)
	var phases sync.WaitGroup
	phases.Go(func() { // one after the other, in the order of the marks
		for drop := range drops {
			rec.phaseOf(ctx, drop)
		}
	})
	defer phases.Wait()
	defer close(drops)
	for {
		conn, err := m.l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case err != nil: // no descriptor left, say: the next mark may come through
			rec.Fail("marks", 0, err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(markWithin):
				continue
			}
		}
		drop := m.serve(conn, rec)
		conn.Close()
		if drop != "" && m.windows != nil {
			select {
			case drops <- drop:
			default: // the mark is in the recording all the same
			}
		}
	}
}

// serve answers one packet, and returns the drop that it told of.
func (m *Marks) serve(conn *net.UnixConn, rec *Recorder) (drop string) {
	_ = conn.SetDeadline(time.Now().Add(markWithin))
	receipt := Receipt{Recording: rec.Prefix()}
	buf := make([]byte, maxPacket+1)
	n, err := conn.Read(buf)
	if err == nil {
		err = ours(conn)
	}
	var r Remark
	if err == nil {
		r, err = parseRemark(buf[:n])
	}
	switch {
	case err != nil:
		receipt.Error = err.Error()
	case r.Text != "" || r.Drop != "":
		receipt.Record, receipt.Note = m.take(r, rec)
	}
	if answer, err := json.Marshal(receipt); err == nil {
		_, _ = conn.Write(answer) // who did not wait for it does not miss it
	}
	return r.Drop
}

func (m *Marks) take(r Remark, rec *Recorder) (n uint64, note string) {
	k := &timeline.Mark{Text: r.Text, Drop: r.Drop, Table: r.Table}
	if ago := clock.Mono() - r.CalledMono; ago >= 0 && ago <= maxCalledAgo {
		called := r.Called.UTC()
		k.Called, k.CalledMono = &called, r.CalledMono
	}
	if k.Drop != "" {
		starts := k.Drop == timeline.DropStart
		if starts == m.dropped {
			note = map[bool]string{true: "a drop had been started already", false: "no drop had been started"}[starts]
		}
		m.dropped = starts
		if k.Text == "" {
			k.Text = "drop " + k.Drop
		}
	}
	n = rec.Append(0, timeline.Body{Mark: k})
	if k.Drop != "" && m.windows != nil {
		m.windows.add(rec, *k, n)
	}
	return n, note
}

// parseRemark reads a packet.
func parseRemark(packet []byte) (r Remark, err error) {
	if len(packet) > maxPacket {
		return r, fmt.Errorf("the remark is too long: at most %d bytes of text are taken", maxRemark)
	}
	if err := json.Unmarshal(packet, &r); err != nil {
		return r, fmt.Errorf("read remark: %w", err)
	}
	switch {
	case len(r.Text) > maxRemark || len(r.Table) > maxRemark:
		return Remark{}, fmt.Errorf("the remark is too long: at most %d bytes are taken", maxRemark)
	case !utf8.ValidString(r.Text) || !utf8.ValidString(r.Table):
		return Remark{}, errors.New("the remark is no UTF-8 text")
	case r.Drop != "" && r.Drop != timeline.DropStart && r.Drop != timeline.DropEnd:
		return Remark{}, fmt.Errorf("drop is %q: want start or end", r.Drop)
	}
	return r, nil
}
