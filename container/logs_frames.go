package container

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// maxOutput is the most of one line that is kept, in bytes.
const maxOutput = 1 << 20

// The first byte of a frame's header (moby, pkg/stdcopy): the stream, or that
// the text is an error of the engine's own.
const (
	frameStdout = 1
	frameStderr = 2
	frameError  = 3
)

// readFrames reads the engine's multiplexed stream (Docker API, "Stream
// format"): frames of the stream's number, three zeros, the length as four bytes,
// the highest first, and the text. Each has one line, or a part of one, behind its
// time. A stream that ends within a frame is an error; that frame is left out.
func readFrames(r io.Reader, docker bool, line func(Output) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var header [8]byte
	var text []byte
	for {
		switch _, err := io.ReadFull(in, header[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's stream: %w", err)
		case header[0] > frameError || header[1]|header[2]|header[3] != 0:
			return fmt.Errorf("read the engine's stream: %q is no header of a frame", header)
		}
		size := int64(binary.BigEndian.Uint32(header[4:]))
		kept := min(size, maxOutput+maxStamp)
		text = slices.Grow(text[:0], int(kept)+1)[:kept]
		_, err := io.ReadFull(in, text)
		skipped := size - kept
		if err == nil && skipped > 0 { // its last byte tells whether the line goes on
			skipped--
			text = text[:kept+1]
			if _, err = io.CopyN(io.Discard, in, skipped); err == nil {
				_, err = io.ReadFull(in, text[kept:])
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("read the engine's stream: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("read the engine's stream: %w", err)
		case header[0] == frameError:
			return fmt.Errorf("the engine says %.200q", bytes.TrimSpace(text))
		}
		stream := "stdout"
		if header[0] == frameStderr {
			stream = "stderr"
		}
		if err := split(text, stream, docker, skipped, line); err != nil {
			return err
		}
	}
}

// dockerPart is how long a part of a line is that Docker splits, and more where
// the log driver wishes so (moby, daemon/logger/copier.go).
const dockerPart = 16 << 10

// split hands on the lines of a frame. Only the first has a time: where a driver
// of a plugin puts several into one message, they share it. The local driver of
// Docker 20.10 loses the newline of a line's last part.
func split(text []byte, stream string, docker bool, skipped int64, line func(Output) error) error {
	o := Output{Stream: stream}
	text = o.stamp(text)
	for {
		first, rest, ended := bytes.Cut(text, []byte("\n"))
		o.Text, o.Partial = first, !ended && !(docker && len(first) < dockerPart)
		if len(rest) == 0 { // the last
			o.Skipped = skipped
		}
		o.bound()
		if err := line(o); err != nil || len(rest) == 0 {
			return err
		}
		text = rest
	}
}

// bound cuts Text at maxOutput.
func (o *Output) bound() {
	if n := len(o.Text); n > maxOutput {
		o.Text, o.Skipped = o.Text[:maxOutput], o.Skipped+int64(n-maxOutput)
	}
}

// maxStamp is more than a time of RFC 3339 with nanoseconds and a space need.
const maxStamp = 40

// stamp takes the time from before a line.
func (o *Output) stamp(text []byte) (rest []byte) {
	i := bytes.IndexByte(text[:min(len(text), maxStamp)], ' ')
	if i < 0 {
		return text
	}
	raw := string(text[:i])
	at, err := time.Parse(time.RFC3339Nano, raw)
	if err != nil {
		return text
	}
	o.Time, o.RawTime = at.UTC(), raw
	return text[i+1:]
}

// readTerminal reads what the engine sends of a container with a terminal: lines
// behind their times, no frames. A line that the stream ends in is handed on only
// where the engine has no more to add to it; else the next answer has it whole.
func readTerminal(r io.Reader, whole bool, line func(Output) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var text []byte
	var skipped int64
	emit := func(partial bool) error {
		o := Output{Stream: "stdout", Partial: partial, Skipped: skipped}
		o.Text = bytes.TrimSuffix(o.stamp(text), []byte("\r"))
		o.bound()
		text, skipped = text[:0], 0
		return line(o)
	}
	for {
		part, err := in.ReadSlice('\n')
		ended := err == nil
		part = bytes.TrimSuffix(part, []byte("\n"))
		room := min(len(part), maxOutput+maxStamp-len(text))
		text, skipped = append(text, part[:room]...), skipped+int64(len(part)-room)
		switch {
		case ended:
			if err := emit(false); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if whole && len(text) > 0 {
				return emit(true)
			}
			return nil
		default:
			return fmt.Errorf("read the engine's stream: %w", err)
		}
	}
}
