package discover

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"halfopen/beatstats"
	"halfopen/sockstate"
)

// statsPorts are where programs publish counters unless told otherwise. Logstash
// takes the first free one of a range.
var statsPorts = map[string][2]uint16{
	Filebeat:  {5066, 5066},
	Logstash:  {9600, 9700},
	Fluentd:   {24220, 24220},
	FluentBit: {2020, 2020},
}

// ofStats reports whether a port is one of counters; of an unknown program any
// kind's will do, the range of Logstash apart.
func ofStats(kind string, port uint16) bool {
	if r, ok := statsPorts[kind]; ok {
		return r[0] <= port && port <= r[1]
	}
	for _, r := range statsPorts {
		if port == r[0] {
			return true
		}
	}
	return false
}

// endpoints notes where the counters may be: first what settings name and a
// socket confirms, then other listeners on the usual ports, then what settings
// alone name.
func (f *finder) endpoints(k *process, set settings) {
	var confirmed, usual, named []string
	for _, s := range set.stats {
		e, err := beatstats.ParseEndpoint(s)
		switch {
		case err != nil:
			k.miss("its counters: %v", err)
		case e.Network == "unix":
			named = append(named, "unix://"+k.root.socket(e.Address))
			k.say("its settings publish counters on unix socket %s", e.Address)
		default:
			port := portText(e.Address)
			if at, ok := k.listenerOn(port); ok {
				confirmed = append(confirmed, at)
				k.say("its settings publish counters on %s, and it listens there", e.Address)
			} else {
				named = append(named, dialable(e.Address))
				k.say("its settings publish counters on %s, but no socket of its own was seen there", e.Address)
			}
		}
	}
	for _, s := range k.Listeners {
		at := dialable(s.Local.String())
		if ofStats(k.Kind, s.Local.Port()) && !slices.Contains(confirmed, at) && !slices.Contains(usual, at) {
			usual = append(usual, at)
			k.say("it listens on %s, a usual port for counters", s.Local)
		}
	}
	k.Stats = slices.Compact(slices.Concat(confirmed, usual, named))
	switch {
	case len(k.Stats) > 0:
	case k.Kind == Vector:
		k.miss("its counters: Vector's are not read; its sockets and its log are")
	case k.Kind == Filebeat && len(k.Logs) > 0:
		k.miss("its counters by http: those that its log carries every 30 s are taken; http.enabled: true in its settings and a restart, or --stats, give one reading a second")
	case k.Kind == Filebeat:
		k.miss("its counters, without which acknowledgements are not seen: set http.enabled: true in its settings and restart it, or name them with --stats")
	case k.Kind != Unknown || k.Role == Shipper:
		k.miss("its counters: neither its settings nor its sockets show where they are published; name them with --stats")
	}
}

func portText(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func (p *Program) listenerOn(port string) (string, bool) {
	i := slices.IndexFunc(p.Listeners, func(s sockstate.Socket) bool { return strconv.Itoa(int(s.Local.Port())) == port })
	if i < 0 {
		return "", false
	}
	return dialable(p.Listeners[i].Local.String()), true
}

// dialable puts the loopback address for "any address".
func dialable(address string) string {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().IsUnspecified() {
		return address
	}
	loop := netip.AddrFrom4([4]byte{127, 0, 0, 1}) // a listener on :: takes it too, unless it is told not to
	return netip.AddrPortFrom(loop, ap.Port()).String()
}

// socket is the path of a unix socket as seen from here.
func (r root) socket(path string) string {
	f, dir, err := r.resolve(filepath.Dir(path))
	if err != nil {
		return filepath.Join(r.outside, path)
	}
	f.Close()
	return filepath.Join(r.outside+dir, filepath.Base(path))
}
