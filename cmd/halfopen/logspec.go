package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"halfopen/collect"
	"halfopen/container"
	"halfopen/logtail"
)

const logHelp = `A log (--log) is a file, a quoted pattern of files, container:NAME, journal:UNIT of systemd, or
kmsg: for the kernel's. With several places each --log goes to the next one, or says to which:
--log filebeat=FILE. What is named is required, but for a file: that is waited for. Without --log
a place's logs are those that its program writes. The kernel's log is recorded wherever it can be
read. Logs begin some minutes in the past (--log-since), so that what led to it is there too; with
--log-lines all they are read whole. How a file's lines are written is seen line by line; it can
be named too, as in --log cri:FILE (docker-json, beats-ecs, logstash-plain … a wrong name lists
all).`

// logFlags say which logs are recorded, and from where on.
type logFlags struct {
	named  []string
	since  time.Duration
	lines  linesFlag
	resume bool
	specs  []logSpec

	positions string // name of the file for resume; empty is positionsFile
}

func (l *logFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&l.named, "log", nil, "log to record, [PLACE=]FILE and more, see above; repeats")
	f.DurationVar(&l.since, "log-since", 5*time.Minute, "begin with lines as old as that; 0s: with new ones")
	f.Var(&l.lines, "log-lines", "begin with the last so many lines instead; all: with the first one")
	f.BoolVar(&l.resume, "resume", false, "go on in each log where the last recording with --resume in this folder ended")
}

func (l *logFlags) check() error {
	if l.since < 0 {
		return usage("--log-since %s: want 0s or more", l.since)
	}
	l.specs = nil
	for _, s := range l.named {
		spec, err := parseLog(s)
		if err != nil {
			return usage("--log %q: %w", s, err)
		}
		if slices.ContainsFunc(l.specs, func(o logSpec) bool { return o.place == spec.place && path.Clean(o.path) == path.Clean(spec.path) }) {
			return usage("--log %q: this log is given twice: its lines would be recorded twice", s)
		}
		l.specs = append(l.specs, spec)
	}
	return nil
}

// from is where a log begins that has no position.
func (l *logFlags) from() logtail.Start {
	switch {
	case l.lines == allLines:
		return logtail.FromBeginning
	case l.lines > 0:
		return logtail.LastLines(l.lines)
	case l.since > 0:
		return logtail.LastDuration(l.since)
	}
	return logtail.FromNow
}

// linesFlag is how many of the last lines a log begins with; 0: not by lines.
type linesFlag int

// allLines is all that there are.
const allLines = -1

func (n *linesFlag) String() string {
	if *n == allLines {
		return "all"
	}
	return strconv.Itoa(int(*n))
}

func (n *linesFlag) Type() string { return "lines" }

// Set takes a number or "all".
func (n *linesFlag) Set(s string) error {
	if s == "all" {
		*n = allLines
		return nil
	}
	v, err := strconv.ParseUint(s, 10, 31)
	if err != nil || v == 0 {
		return errors.New("want a number of lines, 1 or more, or all")
	}
	*n = linesFlag(v)
	return nil
}

// logSpec is what one --log names.
type logSpec struct {
	place  string         // "" where it is not named
	format logtail.Format // of a file's lines; "" where it is not named
	path   string         // as collect.Logs has it
}

var (
	placeOfLog = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_-]*)=(.*)$`)
	kindOfLog  = regexp.MustCompile(`^([a-z]+(?:-[a-z]+)?):`)
	kindsOfLog = []string{collect.KernelPath, collect.JournalPrefix, collect.ContainerPrefix}
	unitName   = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,255}$`) // systemd.unit(5)
)

func parseLog(s string) (spec logSpec, err error) {
	spec.path = s
	if m := placeOfLog.FindStringSubmatch(s); m != nil {
		spec.place, spec.path = m[1], m[2]
	}
	rest, isUnit := strings.CutPrefix(spec.path, collect.JournalPrefix)
	kind := kindOfLog.FindStringSubmatch(spec.path)
	if kind != nil && !slices.Contains(kindsOfLog, kind[0]) {
		if spec.format, err = logtail.ParseFormat(kind[1]); err != nil {
			return spec, fmt.Errorf("%q is neither container:, journal: nor kmsg:, nor before a file's name how it is written: %w; for a file of that name give ./%s", kind[0], err, spec.path)
		}
		spec.path = spec.path[len(kind[0]):]
		if kindOfLog.MatchString(spec.path) {
			return spec, fmt.Errorf("a format is that of a file, which %q is not; for a file of that name give %s./%s", spec.path, kind[0], spec.path)
		}
	}
	switch {
	case spec.path == "":
		return spec, errors.New("want a file, a pattern, container:NAME, journal:UNIT, or kmsg: for the kernel's")
	case spec.path == collect.KernelPath && spec.place != "":
		return spec, errors.New("the kernel's log is no place's: give kmsg: alone")
	case isUnit && (!unitName.MatchString(rest) || rest[0] == '-'):
		return spec, fmt.Errorf("%q is no name of a systemd unit: want such as filebeat.service", rest)
	case spec.path == collect.ContainerPrefix:
		return spec, errors.New("want the name or id of a container after the colon")
	case logtail.IsGlob(spec.path):
		for part := range strings.SplitSeq(spec.path, "/") {
			if _, err := path.Match(part, ""); err != nil {
				return spec, fmt.Errorf("%q is no pattern: %w", part, err)
			}
		}
	}
	return spec, nil
}

// require refuses what is named, can't be read and will not come.
func (l *logFlags) require(ctx context.Context) error {
	for _, spec := range l.specs {
		if err := spec.require(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l logSpec) require(ctx context.Context) error {
	switch kind, rest, _ := strings.Cut(l.path, ":"); kind + ":" {
	case collect.KernelPath:
		return kernelReadable()
	case collect.JournalPrefix:
		if _, err := exec.LookPath("journalctl"); err != nil {
			return fmt.Errorf("--log %s: there is no journalctl on this host: name a file instead", l.path)
		}
		return nil
	case collect.ContainerPrefix:
		_, err := container.Find(ctx, rest)
		return err
	}
	if logtail.IsGlob(l.path) {
		return nil
	}
	return checkLog(l.path)
}

func kernelReadable() error {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
		return nil
	}
	err = &os.PathError{Op: "open", Path: "/dev/kmsg", Err: err}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("read the kernel's log: %w: that takes root or CAP_SYSLOG", err)
	}
	return fmt.Errorf("read the kernel's log: %w", err)
}

// share gives each --log to its place.
func (l *logFlags) share(subjects []*subject) error {
	next := 0
	for _, spec := range l.specs {
		if spec.path == collect.KernelPath {
			continue
		}
		i := next
		switch {
		case spec.place != "":
			i = slices.IndexFunc(subjects, func(s *subject) bool { return s.name == spec.place })
			if i < 0 {
				return usage("--log %s=%s: there is no place %q: there is %s; for a file of that name give ./%s=%s",
					spec.place, spec.path, spec.place, placeNames(subjects), spec.place, spec.path)
			}
		case len(subjects) == 1:
			i = 0
		default:
			next++
		}
		if i >= len(subjects) {
			return usage("--log %s: each --log goes to the next place, and there are %d: say which, --log PLACE=%s, with %s", spec.path, len(subjects), spec.path, placeNames(subjects))
		}
		subjects[i].logs = append(subjects[i].logs, spec.path)
		subjects[i].program.Logs = subjects[i].logs
	}
	return nil
}

func placeNames(subjects []*subject) string {
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = s.name
	}
	return strings.Join(names, " or ")
}
