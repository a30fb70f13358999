package main

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	vnl "github.com/vishvananda/netlink"

	"halfopen/flow"
	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/timeline"
	"halfopen/verdict"
)

// findsRule reports whether the judge has a finding by that rule, with all the words.
func findsRule(rec *timeline.Recording, rule string, words ...string) bool {
	return slices.ContainsFunc(verdict.Judge(rec, verdict.Defaults()).Findings, func(f verdict.Finding) bool {
		return f.Rule == rule && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.Text, w) })
	})
}

// The router forgets the connection, as by conntrack -D: the recorder beside it
// tells so, though the kernel has no event of an entry that is older than the
// recording. Of a connection that is younger it has, and it is recorded.
func TestForgottenByHand(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	h.record()
	table, err := middlebox.OpenConntrack(h.bed.Router, flow.NewPorts(5044))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var entries []middlebox.Entry
	h.await("the entry in the recording", func(rec *timeline.Recording) bool {
		entries, err = table.List()
		if err != nil || len(entries) != 1 {
			t.Fatalf("entries %+v, %v", entries, err)
		}
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Conntrack != nil && k.Conntrack.At == "recorder" && len(k.Conntrack.Entries) == 1 && k.Conntrack.Entries[0].ID == entries[0].ID
		})
	})
	if err := table.Delete(entries[0]); err != nil {
		t.Fatal(err)
	}
	h.await("the finding", func(rec *timeline.Recording) bool {
		return findsRule(rec, "forgotten by the path", "recorder forgot the connection", entries[0].Orig.String(), "another entry")
	})

	var c net.Conn
	err = h.bed.Shipper.Do(func() (err error) {
		c, err = net.Dial("tcp", netip.AddrPortFrom(lab.ReceiverAddr, 5044).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mine := flow.New(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
	told := func(kind middlebox.EventKind) func(*timeline.Recording) bool {
		return func(rec *timeline.Recording) bool {
			return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
				return k.Track != nil && k.Track.At == "recorder" && k.Track.Event.Kind == kind && k.Track.Event.Entry.Orig == mine
			})
		}
	}
	h.await("the event of its begin", told(middlebox.New))
	for _, e := range listed(t, table) {
		if e.Orig == mine {
			if err := table.Delete(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.await("the event of its end", told(middlebox.Destroy))

	v, _ := h.finish()
	if v.Receiver == nil || *v.Receiver != entries[0].Reply {
		t.Errorf("connection %v at the receiver %v, want %v by conntrack", v.Connection, v.Receiver, entries[0].Reply)
	}
}

func listed(t *testing.T, table *middlebox.Conntrack) []middlebox.Entry {
	t.Helper()
	entries, err := table.List()
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A link on the way goes down and comes up again: told with its times.
func TestLinkDownByHand(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	h.record()
	up := func(rec *timeline.Recording) bool {
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Link != nil && k.Link.At == "recorder" && k.Link.Link.Name == lab.RouterLink && k.Link.Link.Up() && slices.Contains(k.Link.Link.Toward, lab.ReceiverAddr)
		})
	}
	h.await("the router's link in the recording", up)
	set := func(how func(vnl.Link) error) {
		t.Helper()
		err := h.bed.Router.Do(func() error {
			l, err := vnl.LinkByName(lab.RouterLink)
			if err != nil {
				return err
			}
			return how(l)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(vnl.LinkSetDown)
	h.await("the link that is down in the recording", func(rec *timeline.Recording) bool {
		_, again := h.sendQueue()
		return again >= 2 && slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Link != nil && k.Link.At == "recorder" && k.Link.Link.Name == lab.RouterLink && !k.Link.Link.Up()
		})
	})
	set(vnl.LinkSetUp)
	h.await("the finding", func(rec *timeline.Recording) bool {
		return findsRule(rec, "link", "interface "+lab.RouterLink+" of recorder went down", "came up again", lab.ReceiverAddr.String())
	})
	h.finish()
}

// Without rights the path is not watched, which is said and is no failure.
func TestPathAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	evidence := filepath.Join(openDir(t), "evidence")
	cmd := exec.Command(binary, "record", "--netns", "/proc/self/ns/net", "--port", "9", "--for", "5s", "--quiet", "--evidence", evidence)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitInconclusive { // nothing ships here
		t.Fatalf("exit code %d\n%s", code, out)
	}
	rec := loaded(t, evidence)
	var notes []string
	for _, k := range rec.Records {
		if k.Failure != nil && k.Failure.Source != "log of kernel" { // which has a right of its own
			t.Errorf("failure %+v", k.Failure)
		}
		if k.Mark != nil {
			notes = append(notes, k.Mark.Text)
		}
	}
	for _, want := range []string{"packet filter of", "connection tracking of", "CAP_NET_ADMIN"} {
		if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("notes %q, want one with %q", notes, want)
		}
	}
}

// What accounting switched on is in the recording, counts, and is off again.
func TestConntrackAccounting(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	h.record("--conntrack-accounting")
	marked := func(text string) func(*timeline.Recording) bool {
		return func(rec *timeline.Recording) bool {
			return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool { return k.Mark != nil && strings.Contains(k.Mark.Text, text) })
		}
	}
	const on = "switched on in recorder, for connections that begin now: sysctl -w net.netfilter.nf_conntrack_acct=1 (it was 0)"
	h.await("accounting", marked(on))
	var c net.Conn
	err := h.bed.Shipper.Do(func() (err error) {
		c, err = net.Dial("tcp", netip.AddrPortFrom(lab.ReceiverAddr, 5044).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.await("an entry that counts", func(rec *timeline.Recording) bool {
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Conntrack != nil && slices.ContainsFunc(k.Conntrack.Entries, func(e middlebox.Entry) bool { return e.OrigBytes != nil && e.Start != nil })
		})
	})
	_, rec := h.finish()
	if !marked("accounting in recorder is as it was")(rec) {
		t.Error("no mark says that accounting is off again")
	}
	if got, _ := h.output(h.bed.Router, "cat /proc/sys/net/netfilter/nf_conntrack_acct"); strings.TrimSpace(got) != "0" {
		t.Errorf("nf_conntrack_acct is %q", got)
	}
}
