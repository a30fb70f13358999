package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"halfopen/flow"
	"halfopen/lab"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// target is where the shipper ships to.
func (x *experiment) target() netip.AddrPort {
	if x.method.proxied {
		return netip.AddrPortFrom(lab.RouterAddr, x.opts.port())
	}
	return netip.AddrPortFrom(lab.ReceiverAddr, x.opts.port())
}

func (x *experiment) startParties(ctx context.Context) error {
	for _, role := range []string{timeline.Shipper, timeline.Receiver, timeline.Router} {
		if err := os.Mkdir(filepath.Join(x.dir, role), 0o700); err != nil {
			return fmt.Errorf("make work folder: %w", err)
		}
	}
	if err := x.startReceiver(ctx); err != nil {
		return err
	}
	if x.method.proxied {
		if err := x.startProxy(ctx); err != nil {
			return err
		}
	}
	return x.startShipper(ctx)
}

func (x *experiment) startReceiver(ctx context.Context) (err error) {
	x.receiver, err = x.start("logstash", timeline.Receiver, x.opts.receiverCommand(), []string{
		lab.EnvListen + "=:" + strconv.Itoa(int(x.opts.port())), lab.EnvStats + "=" + receiverStats,
		lab.EnvClientTimeout + "=" + x.opts.clientTimeout.String(),
	})
	if err != nil {
		return err
	}
	return x.listening(ctx, x.receiver)
}

// startProxy starts what ends the shipper's connection in the router.
func (x *experiment) startProxy(ctx context.Context) error {
	p, err := x.start("proxy", timeline.Router, []string{"/proc/self/exe", "lab-proxy"}, []string{
		lab.EnvListen + "=" + x.target().String(),
		lab.EnvReceiver + "=" + netip.AddrPortFrom(lab.ReceiverAddr, x.opts.port()).String(),
	})
	if err != nil {
		return err
	}
	x.proxy = p
	return x.listening(ctx, p)
}

// listening waits until a party listens on the port.
func (x *experiment) listening(ctx context.Context, p *lab.Party) error {
	ready, cancel := context.WithTimeoutCause(ctx, receiverReadyIn, fmt.Errorf("it did not listen on port %d (%s in the kernel's spelling) within %s", x.opts.port(), flow.Hex(x.opts.port()), receiverReadyIn))
	defer cancel()
	return p.Await(ready, func() bool { return listens(x.place(p.Role), x.opts.port()) })
}

func (x *experiment) startShipper(ctx context.Context) error {
	host, port, _ := strings.Cut(shipperStats, ":")
	statsPort, err := flow.ParsePort(port)
	if err != nil {
		return err
	}
	yml := lab.FilebeatYML(lab.FilebeatSettings{
		Input: x.lines.Path, Receiver: x.target().String(), Timeout: x.opts.shipperTimeout, Pipelining: x.opts.pipelining,
		Queue: queueEvents, StatsHost: host, StatsPort: statsPort, Dir: filepath.Join(x.dir, timeline.Shipper),
	})
	ymlPath := filepath.Join(x.dir, "filebeat.yml")
	if err := os.WriteFile(ymlPath, yml, 0o600); err != nil { // Filebeat refuses a file that others may write
		return fmt.Errorf("write filebeat.yml: %w", err)
	}
	if x.opts.filebeat != "" {
		x.show.print("filebeat.yml:\n" + string(yml))
	}
	if err := x.settings(yml); err != nil {
		return err
	}
	keepalive := "on"
	if !x.opts.keepalive {
		keepalive = "off"
	}
	x.shipper, err = x.start("filebeat", timeline.Shipper, x.opts.shipperCommand(ymlPath), []string{
		lab.EnvInput + "=" + x.lines.Path, lab.EnvReceiver + "=" + x.target().String(), lab.EnvStats + "=" + shipperStats,
		lab.EnvTimeout + "=" + x.opts.shipperTimeout.String(), lab.EnvPipelining + "=" + strconv.Itoa(x.opts.pipelining),
		lab.EnvQueue + "=" + strconv.Itoa(queueEvents), lab.EnvStatsShape + "=" + x.opts.statsShape, lab.EnvFilebeatYML + "=" + ymlPath,
		lab.EnvKeepalive + "=" + keepalive,
	})
	if err != nil {
		return err
	}
	// The first raw evidence should have the shipper's counters; one that serves
	// none, or ends at once, is recorded all the same.
	soon, cancel := context.WithTimeout(ctx, statsReadyIn)
	defer cancel()
	_ = x.shipper.Await(soon, func() bool { return listens(x.bed.Shipper, statsPort) })
	return ctx.Err()
}

func (x *experiment) start(name, role string, args, env []string) (*lab.Party, error) {
	p := &lab.Party{Name: name, Role: role, Args: args, Log: filepath.Join(x.dir, name+".log")}
	if role == timeline.Receiver {
		p.Valve = x.valve
	}
	if err := lab.StartParty(x.place(role), p, append(env, lab.EnvDir+"="+filepath.Join(x.dir, role))); err != nil {
		return nil, err
	}
	x.rec.Append(0, timeline.Body{Party: &timeline.Party{Name: name, At: role, Change: timeline.Started, PID: p.PID, Command: args, ByUs: true}})
	x.lives <- p
	return p, nil
}

// listens looks for a listener in a namespace.
func listens(ns *netns.NS, port uint16) bool {
	socks, _, err := sockstate.ReadProc(ns.ProcRoot(), flow.NewPorts(port))
	return err == nil && slices.ContainsFunc(socks, func(s sockstate.Socket) bool { return s.State == sockstate.Listen })
}

func (x *experiment) stopParties() {
	if x.blocked {
		x.valve.Open()
		x.blocked = false
	}
	for _, p := range []*lab.Party{x.shipper, x.proxy, x.receiver} {
		if p != nil {
			p.Stop()
		}
	}
	lab.EndChildren()
}

func (o labOptions) receiverCommand() []string {
	if o.receiverCmd != "" {
		return []string{"/bin/sh", "-c", o.receiverCmd}
	}
	return []string{"/proc/self/exe", "lab-receiver"}
}

func (o labOptions) shipperCommand(yml string) []string {
	switch {
	case o.shipperCmd != "":
		return []string{"/bin/sh", "-c", o.shipperCmd}
	case o.filebeat != "":
		return []string{o.filebeat, "-e", "--strict.perms=false", "-c", yml}
	}
	return []string{"/proc/self/exe", "lab-shipper"}
}
