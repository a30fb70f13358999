package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"halfopen/lab"
	"halfopen/report"
	"halfopen/timeline"
	"halfopen/verdict"
)

// What the cells of the matrix share, unless the command line says otherwise. The
// kernel's give-up is waited for, which takes a quarter of an hour with
// tcp_retries2 15; with 7 it is 51 s, and still comes after Filebeat's own 30 s.
const (
	matrixRetries2 = 7
	matrixDrop     = 5 * time.Second
	matrixWatch    = 75 * time.Second
	matrixIdle     = 18 * time.Second       // longer than the 15 s between two keepalive probes
	matrixStagger  = 400 * time.Millisecond // a lab takes most of its work to begin
)

// matrixOptions fills in what the command line leaves open.
func (o *labOptions) matrixOptions(given func(flag string) bool) {
	for flag, fill := range map[string]func(){
		"tcp-retries2": func() { o.retries2 = matrixRetries2 },
		"drop-for":     func() { o.dropFor = matrixDrop },
		"watch-for":    func() { o.watchFor = matrixWatch },
		"idle":         func() { o.idle = matrixIdle },
	} {
		if !given(flag) {
			fill()
		}
	}
}

// cell is one lab of the matrix, and what came of it.
type cell struct {
	Method    string         `json:"method"`
	Timeout   time.Duration  `json:"shipper_timeout_ns"`
	Keepalive bool           `json:"keepalive"`
	Verdict   string         `json:"verdict"`
	Class     verdict.Class  `json:"class,omitempty"`
	By        string         `json:"recovered_by,omitempty"`
	After     *time.Duration `json:"acks_stood_still_ns,omitempty"` // until they moved again, or to the end
	Delivery  *lab.Delivery  `json:"delivery,omitempty"`
	Summary   string         `json:"summary"`
	Recording string         `json:"recording"`

	dir  string
	cmd  *exec.Cmd
	said bytes.Buffer
}

// matrixTimeouts are the shippers': the one that many guides give, Filebeat's
// default, and the one that switches its guard off.
var matrixTimeouts = []time.Duration{0, 30 * time.Second, 24 * time.Hour}

// cells are all methods with all settings, or those that were asked for. A
// Filebeat's keepalive can't be switched off.
func (o labOptions) cells(dir string, given func(flag string) bool) (list []*cell) {
	timeouts := matrixTimeouts
	if given("shipper-timeout") {
		timeouts = []time.Duration{o.shipperTimeout}
	}
	for _, m := range labMethods {
		if m.name == timeline.MethodNone || given("method") && m.name != o.method {
			continue
		}
		for _, timeout := range timeouts {
			for _, keepalive := range []bool{true, false} {
				if o.filebeat != "" && !keepalive {
					continue
				}
				c := &cell{Method: m.name, Timeout: timeout, Keepalive: keepalive}
				c.dir = filepath.Join(dir, strings.ReplaceAll(c.Method+"-"+c.setting(), " ", "-"))
				list = append(list, c)
			}
		}
	}
	return list
}

// setting is the cell's column.
func (c *cell) setting() string {
	return fmt.Sprintf("timeout %s keepalive %s", short(c.Timeout), c.keepalive())
}

// short spells 24h0m0s as 24h.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func (c *cell) keepalive() string {
	if c.Keepalive {
		return "on"
	}
	return "off"
}

// runMatrix runs every cell as a lab of its own, a process with namespaces of its
// own, and prints the table.
func runMatrix(ctx context.Context, o labOptions, given func(flag string) bool, stdout, stderr io.Writer) error {
	o.matrixOptions(given)
	dir := filepath.Join(o.evidence, "matrix-"+time.Now().UTC().Format("20060102-150405"))
	cells := o.cells(dir, given)
	if !o.quiet {
		about := time.Duration(len(cells))*matrixStagger + o.warmUp + o.dropFor + o.watchFor + o.idle
		fmt.Fprintf(stderr, "%d labs side by side, for about %s; their recordings land in %s\n", len(cells), about, dir)
	}
	var all errgroup.Group
	var err error
	for _, c := range cells {
		if err = wait(ctx, matrixStagger); err != nil {
			break
		}
		// From this thread, the main one: a child dies with the thread that started
		// it (PR_SET_PDEATHSIG).
		if err = c.start(o); err != nil {
			break
		}
		all.Go(func() error { return c.wait(ctx) })
	}
	if err = errors.Join(err, all.Wait()); err != nil {
		return err
	}
	text := []byte(report.Plain(o.matrixTable(cells)))
	if o.json {
		if text, err = report.JSON(struct {
			Note  string  `json:"note"`
			Cells []*cell `json:"cells"`
		}{o.matrixNote(), cells}); err != nil {
			return err
		}
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("print matrix: %w", err)
	}
	return nil
}

func (c *cell) start(o labOptions) error {
	c.cmd = exec.Command("/proc/self/exe", "lab", "--json", "--quiet", "--calm", "--evidence", c.dir, "--method", c.Method,
		"--shipper-timeout", c.Timeout.String(), "--keepalive="+fmt.Sprint(c.Keepalive), "--tcp-retries2", fmt.Sprint(o.retries2),
		"--idle", o.idle.String(), "--warm-up", o.warmUp.String(), "--drop-for", o.dropFor.String(), "--watch-for", o.watchFor.String(),
		"--rate", fmt.Sprint(o.rate), "--pipelining", fmt.Sprint(o.pipelining), "--stats-shape", o.statsShape, "--filebeat", o.filebeat,
		"--capture="+fmt.Sprint(o.capture.on), "--capture-size", o.capture.size, "--capture-keep", fmt.Sprint(o.capture.keep))
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return fmt.Errorf("make evidence folder: %w; name another with --evidence", err)
	}
	out, err := os.Create(filepath.Join(c.dir, "verdict.json"))
	if err != nil {
		return fmt.Errorf("write verdict: %w", err)
	}
	defer out.Close() // the child has its own
	c.cmd.Stdout, c.cmd.Stderr = out, &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C comes from us
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start the lab of %s: %w", c.dir, err)
	}
	return nil
}

// wait ends with the lab, and reads what came of it.
func (c *cell) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Signal(syscall.SIGINT) })
	defer stop()
	err := c.cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text, rerr := os.ReadFile(filepath.Join(c.dir, "verdict.json"))
	var v verdict.Verdict
	if rerr != nil || json.Unmarshal(text, &v) != nil {
		return fmt.Errorf("the lab of %s gave no verdict: %w: %s", c.dir, errors.Join(err, rerr), strings.TrimSpace(c.said.String()))
	}
	c.Verdict, c.Class, c.Summary, c.Recording = v.Verdict, v.Class, v.Summary, filepath.Join(c.dir, v.Recording)
	switch {
	case v.Recovery != nil:
		c.By, c.After = v.Recovery.By, &v.Recovery.Stood
	case v.Stall != nil:
		c.After = &v.Stall.For
	}
	found, _ := filepath.Glob(filepath.Join(c.dir, "*-delivery.json"))
	for _, path := range found {
		var d lab.Delivery
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &d) == nil {
			c.Delivery = &d
		}
	}
	return nil
}
