package logtail_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

var readAt = at("2026-11-21T12:00:30Z")

// decode gives the messages of lines of one file.
func decode(d *logtail.Decoder, file string, lines ...string) (all []logtail.Message) {
	var offset int64
	for _, text := range lines {
		l := logtail.Line{File: file, Offset: offset, Inode: 7, Bytes: []byte(text), Size: int64(len(text)) + 1}
		offset += l.Size
		if m, ok := d.Decode(l, readAt); ok {
			all = append(all, m)
		}
	}
	return all
}

// docker is a line of the json-file driver.
func docker(stream, text string) string {
	return fmt.Sprintf(`{"log":%s,"stream":%q,"time":"2026-11-21T12:00:01.5Z"}`, strconv.Quote(text), stream)
}

func TestDecodeJoinsDocker(t *testing.T) {
	got := decode(&logtail.Decoder{}, "c.log",
		docker("stdout", "2026-11-21T12:00:00.000Z\tERROR\tlogstash/async.go:280\tFailed to publish ev"),
		docker("stderr", "another stream\n"),
		docker("stdout", "ents caused by: read tcp 10.50.0.2:33342->10.51.0.2:5044: i/o "),
		docker("stdout", "timeout\n"),
		docker("stdout", "next\r\n"),
	)
	if len(got) != 3 {
		t.Fatalf("%d messages: %+v", len(got), got)
	}
	m := got[1]
	if p, ok := logtail.Match(m.Message); !ok || p.Name != "filebeat-io-timeout" {
		t.Errorf("joined message %q", m.Message)
	}
	if m.Offset != 0 || m.Lines != 3 || m.Stream != "stdout" || m.Level != "error" || m.Partial || m.Cut ||
		m.Format != logtail.DockerJSON || m.Inner != logtail.BeatsText || m.File != "c.log" || m.Inode != 7 ||
		m.TimeFrom != logtail.TimeOfLine || !m.Time.Equal(at("2026-11-21T12:00:00Z")) || m.RawTime != "2026-11-21T12:00:00.000Z" {
		t.Errorf("joined: %+v", m)
	}
	if m := got[0]; m.Message != "another stream" || m.Stream != "stderr" || m.Lines != 1 || m.TimeFrom != logtail.TimeOfEngine || !m.Time.Equal(at("2026-11-21T12:00:01.5Z")) {
		t.Errorf("between: %+v", m)
	}
	if m := got[2]; m.Message != "next" || m.Inner != logtail.Plain {
		t.Errorf("next: %+v", m)
	}
}

func TestDecodeJoinsCRI(t *testing.T) {
	d := &logtail.Decoder{}
	got := decode(d, "0.log",
		"2026-11-21T12:00:01Z stdout P [2026-11-21T07:00:00,123][INFO ][org.logstash.beats.BeatsHandler][main] clo",
		"2026-11-21T12:00:02Z stdout F sing (Connection reset by peer)",
		"2026-11-21T12:00:03Z stderr P never ended",
	)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	m := got[0]
	if m.Message != "closing (Connection reset by peer)" || m.Lines != 2 || m.Inner != logtail.LogstashPlain || m.Level != "info" {
		t.Errorf("joined: %+v", m)
	}
	// Logstash names no zone; the engine's time is sure.
	if m.TimeFrom != logtail.TimeOfEngine || m.NoZone || !m.Time.Equal(at("2026-11-21T12:00:01Z")) || m.RawTime != "2026-11-21T12:00:01Z" {
		t.Errorf("time: %+v", m)
	}
	rest := d.Flush(readAt)
	if len(rest) != 1 || rest[0].Message != "never ended" || !rest[0].Partial || rest[0].Lines != 1 || len(d.Flush(readAt)) != 0 {
		t.Errorf("left over: %+v", rest)
	}
	if got, want := string(rest[0].Last.Bytes), "2026-11-21T12:00:03Z stderr P never ended"; got != want || rest[0].Last.File != "0.log" {
		t.Errorf("the last line of it is %+v, want %q", rest[0].Last, want)
	}
}

func TestDecodeTimes(t *testing.T) {
	east := time.FixedZone("east", 9*3600)
	for _, c := range []struct {
		name   string
		d      logtail.Decoder
		line   string
		want   time.Time
		from   logtail.TimeFrom
		raw    string
		format logtail.Format
		inner  logtail.Format
	}{
		{"none", logtail.Decoder{}, "panic: x", readAt, logtail.TimeOfReading, "", logtail.Plain, ""},
		{"no zone", logtail.Decoder{Zone: east}, "[2026-11-21T21:00:00,123][INFO ][x][main] m", at("2026-11-21T12:00:00.123Z"), logtail.TimeOfLine, "2026-11-21T21:00:00,123", logtail.LogstashPlain, ""},
		{"engine's stream", logtail.Decoder{}, `2026-11-21T12:00:01.5Z {"log.level":"info","@timestamp":"2026-11-21T12:00:01.000Z","message":"x"}`, at("2026-11-21T12:00:01Z"), logtail.TimeOfLine, "2026-11-21T12:00:01.000Z", logtail.Stamped, logtail.BeatsECS},
		{"own time first", logtail.Decoder{}, "2026-11-21T12:00:01Z 2026-11-21T11:00:01Z x", at("2026-11-21T12:00:01Z"), logtail.TimeOfLine, "2026-11-21T12:00:01Z", logtail.Stamped, ""},
		{"not of the named format", logtail.Decoder{Format: logtail.CRI}, "2026-11-21T12:00:01Z x", readAt, logtail.TimeOfReading, "", logtail.Plain, ""},
		{"journal", logtail.Decoder{}, `{"__CURSOR":"x","__REALTIME_TIMESTAMP":"1795277679947600","MESSAGE":"2026-11-21T12:00:00.000Z\tINFO\tm"}`, at("2026-11-21T12:00:00Z"), logtail.TimeOfLine, "2026-11-21T12:00:00.000Z", logtail.Journal, logtail.BeatsText},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(&c.d, "f", c.line)
			if len(got) != 1 {
				t.Fatalf("%+v", got)
			}
			m := got[0]
			if !m.Time.Equal(c.want) || m.Time.Location() != time.UTC || m.TimeFrom != c.from || m.RawTime != c.raw || m.Format != c.format || m.Inner != c.inner {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestDecodeKernel(t *testing.T) {
	var got []logtail.Message
	d := &logtail.Decoder{}
	for _, text := range []string{"6,1,1000000,-;eth0: Link is Down", " SUBSYSTEM=net", " DEVICE=n2", "6,2,2000000,-;next"} {
		if m, ok := d.Decode(logtail.Line{File: "/dev/kmsg", Bytes: []byte(text)}, time.Now()); ok {
			got = append(got, m)
		}
	}
	if len(got) != 2 || got[0].Message != "eth0: Link is Down" || got[1].Message != "next" {
		t.Fatalf("%+v", got)
	}
	if d := got[1].Time.Sub(got[0].Time); d < 990*time.Millisecond || d > 1010*time.Millisecond {
		t.Errorf("a second apart: %v", d)
	}
	if m := got[0]; m.TimeFrom != logtail.TimeOfLine || m.RawTime != "1000000" || m.Uptime != time.Second {
		t.Errorf("%+v", m)
	}
	// The clock may differ from this one: never after the reading.
	if got := decode(&logtail.Decoder{}, "/dev/kmsg", "6,1,9000000000000000,-;from the future"); !got[0].Time.Equal(readAt) {
		t.Errorf("%+v", got[0])
	}
	if got := decode(&logtail.Decoder{Format: logtail.Kernel}, "/dev/kmsg", " DEVICE=n2"); len(got) != 0 {
		t.Errorf("a property alone: %+v", got)
	}
	if got := decode(&logtail.Decoder{}, "other", "6,1,1,-;x", " indented", ""); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// Whatever is written, what is unfinished stays bounded, and nothing is dropped.
func TestDecodeIsBounded(t *testing.T) {
	d := &logtail.Decoder{}
	part := strings.Repeat("x", 16<<10)
	for range 1000 { // 16 MiB of one message
		decode(d, "one", "2026-11-21T12:00:01Z stdout P "+part)
	}
	got := decode(d, "one", "2026-11-21T12:00:01Z stdout F end")
	if len(got) != 1 || len(got[0].Message) != 1<<20 || !got[0].Cut || got[0].Lines != 1001 {
		t.Fatalf("%d messages, first of %d bytes, cut %v", len(got), len(got[0].Message), got[0].Cut)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	alone := 0
	for i := range 20_000 { // 20,000 logs, each with an unfinished message
		alone += len(decode(d, fmt.Sprint(i), "2026-11-21T12:00:01Z stdout P "+part[:4<<10]))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 16<<20 {
		t.Errorf("%d bytes are held", used)
	}
	if held := len(d.Flush(readAt)); alone+held != 20_000 || alone == 0 || held == 0 {
		t.Errorf("%d given alone, %d held", alone, held)
	}
}

// FuzzDecode: no line is lost, however the parts of messages come.
func FuzzDecode(f *testing.F) {
	f.Add("2026-11-21T12:00:01Z stdout P a\n2026-11-21T12:00:01Z stderr F b\n2026-11-21T12:00:01Z stdout F c")
	f.Add(docker("stdout", "half") + "\n" + docker("stdout", "whole\n"))
	f.Add("6,1,1000000,-;x\n SUBSYSTEM=net\n\n{}\n[[[")
	f.Fuzz(func(t *testing.T, text string) {
		d := &logtail.Decoder{}
		lines := strings.Split(text, "\n")
		all := decode(d, "f", lines...)
		sum, properties := 0, 0
		for _, m := range append(all, d.Flush(readAt)...) {
			sum += m.Lines
			if m.Time.IsZero() || m.Time.Location() != time.UTC || m.Lines < 1 || m.Format == "" || m.TimeFrom == "" {
				t.Errorf("%+v", m)
			}
		}
		for _, l := range lines {
			if strings.HasPrefix(l, " ") {
				properties++
			}
		}
		if sum > len(lines) || sum < len(lines)-properties {
			t.Errorf("%d lines, of them %d that may be properties; messages of %d", len(lines), properties, sum)
		}
	})
}
