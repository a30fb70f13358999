package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/container"
	"halfopen/discover"
	"halfopen/logtail"
)

func TestParseLog(t *testing.T) {
	for in, want := range map[string]logSpec{
		"/var/log/filebeat/filebeat":       {"", "", "/var/log/filebeat/filebeat"},
		"app.log":                          {"", "", "app.log"},
		"filebeat=/var/log/*.ndjson":       {"filebeat", "", "/var/log/*.ndjson"},
		"filebeat-2=journal:fb.service":    {"filebeat-2", "", "journal:fb.service"},
		"/var/log/a=b.log":                 {"", "", "/var/log/a=b.log"},
		"./a=b.log":                        {"", "", "./a=b.log"},
		"container:filebeat":               {"", "", "container:filebeat"},
		"kmsg:":                            {"", "", "kmsg:"},
		"journal:a@b\\x2dc.service":        {"", "", "journal:a@b\\x2dc.service"},
		"./journal:x":                      {"", "", "./journal:x"},
		"logstash=a=b":                     {"logstash", "", "a=b"},
		"/var/log/2026-11-21T12:00:00.log": {"", "", "/var/log/2026-11-21T12:00:00.log"},
		"filebeat=cri:/var/log/pods/*.log": {"filebeat", logtail.CRI, "/var/log/pods/*.log"},
		"beats-ecs:fb.log":                 {"", logtail.BeatsECS, "fb.log"},
		"cri:./journal:x":                  {"", logtail.CRI, "./journal:x"},
	} {
		if got, err := parseLog(in); err != nil || got != want {
			t.Errorf("parseLog(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                     "want a file",
		"filebeat=":            "want a file",
		"filebeat=kmsg:":       "give kmsg: alone",
		"journal:":             "no name of a systemd unit",
		"journal:--since=now":  "no name of a systemd unit",
		"journal:-a":           "no name of a systemd unit",
		"container:":           "name or id",
		"docker:filebeat":      `"docker:" is neither container:, journal: nor kmsg:`,
		"morse-code:x":         "want one of [access alb beats-ecs",
		"cri:":                 "want a file",
		"cri:container:x":      "a format is that of a file",
		"journald:x.service":   "for a file of that name give ./journald:x.service",
		"/var/log/[a.log":      "is no pattern",
		"filebeat=/var/[/*.gz": "is no pattern",
	} {
		if got, err := parseLog(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseLog(%q) = %+v, %v, want %q", in, got, err, want)
		}
	}
}

func TestLinesFlag(t *testing.T) {
	for in, want := range map[string]logtail.Start{"all": logtail.FromBeginning, "7": logtail.LastLines(7)} {
		l := logFlags{since: time.Minute}
		if err := l.lines.Set(in); err != nil || l.lines.String() != in || l.from() != want {
			t.Errorf("--log-lines %s: %v, begins at %v, want %v", in, err, l.from(), want)
		}
	}
	for _, in := range []string{"", "0", "-1", "every", "1e3", "99999999999"} {
		if err := new(linesFlag).Set(in); err == nil || !strings.Contains(err.Error(), "or all") {
			t.Errorf("--log-lines %q: %v", in, err)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	for _, s := range []string{"a=b", "journal:x", "kmsg:", "container:y", "/var/log/*", "x=y=z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spec, err := parseLog(s)
		if err == nil && (spec.path == "" || !strings.HasSuffix(s, spec.path)) {
			t.Errorf("%q gives %+v", s, spec)
		}
	})
}

func TestShareLogs(t *testing.T) {
	share := func(places []string, logs ...string) ([]*subject, error) {
		var l logFlags
		for _, s := range logs {
			spec, err := parseLog(s)
			if err != nil {
				t.Fatal(err)
			}
			l.specs = append(l.specs, spec)
		}
		var subjects []*subject
		for _, p := range places {
			subjects = append(subjects, &subject{name: p})
		}
		return subjects, l.share(subjects)
	}
	two := []string{"filebeat", "logstash"}
	for _, tc := range []struct {
		places, logs []string
		want         [][]string
		err          string
	}{
		{two[:1], []string{"/a", "/b", "kmsg:"}, [][]string{{"/a", "/b"}}, ""},
		{two, []string{"/a", "/b"}, [][]string{{"/a"}, {"/b"}}, ""},
		{two, []string{"logstash=/a", "/b", "logstash=/c"}, [][]string{{"/b"}, {"/a", "/c"}}, ""},
		{two, []string{"kmsg:"}, [][]string{nil, nil}, ""},
		{two, []string{"/a", "/b", "/c"}, nil, "--log PLACE=/c, with filebeat or logstash"},
		{two, []string{"filebet=/a"}, nil, `no place "filebet": there is filebeat or logstash`},
	} {
		subjects, err := share(tc.places, tc.logs...)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: %v, want %q", tc.logs, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
		}
		for i, s := range subjects {
			if !slices.Equal(s.logs, tc.want[i]) {
				t.Errorf("%q: place %s has %q, want %q", tc.logs, s.name, s.logs, tc.want[i])
			}
		}
	}
}

// Each log of a place has a copy of its own, and the container's output is the
// first.
func TestLogPaths(t *testing.T) {
	const id = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	then := container.Container{ID: id, Engine: container.Docker, LogDriver: "local"}
	s := &subject{name: "filebeat", program: discover.Program{PID: 12, Container: &then, Logs: []string{
		"/proc/12/root/var/log/filebeat/filebeat-20261121.ndjson", "/proc/12/root/tmp/filebeat-20261121.ndjson", "journal:filebeat.service",
	}}}
	now := then
	now.PID = 34
	paths := s.logPaths(now)
	want := []string{"container:" + id, "/proc/34/root/var/log/filebeat/filebeat-20261121.ndjson", "/proc/34/root/tmp/filebeat-20261121.ndjson", "journal:filebeat.service"}
	if !slices.Equal(paths, want) {
		t.Errorf("paths %q, want %q", paths, want)
	}
	plan := logPlan{from: logtail.LastDuration(time.Minute), ask: followContainer}
	var copies []string
	for i, p := range paths {
		l := s.newLog(plan, i, p)
		copies = append(copies, l.Copy)
		if (l.Follow != nil) != (i < 3) || l.From != plan.from || l.Name != "filebeat" {
			t.Errorf("%s: %+v", p, l)
		}
	}
	if want := []string{"container", "filebeat-20261121.ndjson", "filebeat-20261121.ndjson-2", "journal"}; !slices.Equal(copies, want) {
		t.Errorf("copies %q, want %q", copies, want)
	}
	for in, want := range map[string]string{"/a/b.log": "b", "/a/*.log": "log", "x:/..": "x", "/a/.hidden": "hidden", "/a/é~1": "1", "kmsg:": "kmsg"} {
		if got := copyName(in, nil); got != want {
			t.Errorf("copyName(%q) = %q, want %q", in, got, want)
		}
	}
}

// Texts of /proc/PID/cgroup that systemd makes.
func TestUnitOf(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/filebeat.service\n":                                               "filebeat.service",
		"12:pids:/system.slice/filebeat.service\n1:name=systemd:/system.slice/fb.service\n": "fb.service",
		"0::/system.slice/system-fb.slice/fb@a.service\n":                                   "fb@a.service",
		"0::/system.slice/k3s.service/kubepods/pod1\n":                                      "k3s.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/fb.service\n":           "user@1000.service",
		"0::/user.slice/user-1000.slice/session-2.scope\n":                                  "",
		"0::/system.slice/docker-0a1b.scope\n":                                              "",
		"4:memory:/system.slice/filebeat.service\n":                                         "",
		"0::/\n": "", "": "", "0::": "", "0::/system.slice/a b.service\n": "", "0::/init.scope\n": "",
	} {
		if got := unitOf([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzUnitOf(f *testing.F) {
	f.Add([]byte("0::/system.slice/filebeat.service\n"))
	f.Add([]byte("1:name=systemd:/a.slice/-x.service\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if unit := unitOf(text); unit != "" && (!unitName.MatchString(unit) || !strings.HasSuffix(unit, ".service")) {
			t.Errorf("%q gives %q", text, unit)
		}
	})
}
