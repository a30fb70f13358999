package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"halfopen/capture"
	"halfopen/collect"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/netns"
	"halfopen/timeline"
)

// captureFlags are --capture and what bounds it.
type captureFlags struct {
	on   bool
	size string
	keep int

	to *collect.Captures // nil: nothing is captured
}

const captureHelp = `--capture takes the headers of the connections' TCP packets too, and not a byte of what they
carry: one pcapng file for all places, with the kernel's time, and in the timeline who sent a
FIN or RST and after which byte, retransmissions, and what was acknowledged each way. The
verdict then says whether a reset came from the peer or from a box between. It takes
CAP_NET_RAW.`

func (c *captureFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&c.on, "capture", false, "capture the headers of the packets too, without their payload")
	f.StringVar(&c.size, "capture-size", "64M", "begin another file of packets at this size")
	f.IntVar(&c.keep, "capture-keep", 8, "keep so many files of packets, the newest")
}

func (c captureFlags) check() error {
	if size, err := timeline.ParseSize(c.size); err != nil || size < 64<<10 {
		return usage("--capture-size %q: want 64K or more", c.size)
	}
	if c.keep < 1 || c.keep > 9999 {
		return usage("--capture-keep %d: want 1 to 9999 files", c.keep)
	}
	return nil
}

// begin makes ready to write the packets of some places.
func (c *captureFlags) begin(places []timeline.Place) []collect.Source {
	if !c.on {
		return nil
	}
	size, _ := timeline.ParseSize(c.size) // checked
	c.to = &collect.Captures{Where: collect.CaptureName(places), Tool: "halfopen " + version, Size: size, Keep: c.keep}
	return []collect.Source{c.to}
}

// at captures in a namespace, once begun.
func (c captureFlags) at(place string, where collect.Where, ns *netns.NS, ports flow.Ports) []collect.Source {
	if c.to == nil {
		return nil
	}
	return []collect.Source{&collect.Capture{At: place, Where: where, NS: ns, Ports: ports, To: c.to}}
}

// captures opens those of the bed before its parties start, to have their SYNs.
func (x *experiment) captures() (sources []collect.Source, done func(), err error) {
	sources = x.opts.capture.begin(x.header().Places)
	var opened []*collect.Capture
	done = func() {
		for _, c := range opened {
			c.Close()
		}
	}
	if len(sources) == 0 {
		return nil, done, nil
	}
	for _, place := range []string{timeline.Shipper, timeline.Router, timeline.Receiver} {
		c := &collect.Capture{At: place, NS: x.place(place), Ports: x.ports(), Not: lab.CanaryAddr, To: x.opts.capture.to}
		if err := c.Open(); err != nil {
			return nil, done, fmt.Errorf("capture packets of the %s: %w", place, err)
		}
		opened, sources = append(opened, c), append(sources, c)
	}
	return sources, done, nil
}

// require tries to capture: what was asked for by name must be possible.
func (c captureFlags) require(subjects []*subject, ports flow.Ports) error {
	if !c.on {
		return nil
	}
	for _, s := range subjects {
		if s.container != "" && !s.program.Container.Running {
			continue // waited for
		}
		ns, err := netns.Open(s.path())
		if err != nil {
			return fmt.Errorf("capture packets of %s: %w", s.name, notEntered(err))
		}
		err = tryCapture(ns, ports)
		ns.Close()
		if err != nil {
			return fmt.Errorf("capture packets of %s: %w", s.name, err)
		}
	}
	return nil
}

func tryCapture(ns *netns.NS, ports flow.Ports) error {
	sock, err := capture.Open(ns, ports)
	if errors.Is(err, os.ErrPermission) {
		exe, _ := os.Executable()
		return fmt.Errorf("%w: that takes CAP_NET_RAW: run as root, or once: sudo setcap cap_net_raw=ep %s; the rest can be recorded without --capture", err, exe)
	}
	if err != nil {
		return err
	}
	return sock.Close()
}
