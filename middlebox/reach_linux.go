package middlebox

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// chainName names a chain in its namespace.
type chainName struct{ family, table, chain string }

func chainOf(r Rule) chainName { return chainName{r.Family, r.Table, r.Chain} }

// inetHooks are the hooks of the families ip, ip6 and inet by number, enum
// nf_inet_hooks (include/uapi/linux/netfilter.h).
var inetHooks = [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

// anyChain begins the Jump of a verdict map. Where its elements can't be told it may
// lead to any chain of its table.
const anyChain = "@"

// reach tells of each known rule that may drop packets of the ports by which hooks
// they get there, and of one that is reached from now on, or no more, as an UPDATE.
// What can't be read is not known.
func (w *ruleWatch) reach() (changed []RuleChange) {
	hooks, err := w.hooks()
	if err != nil {
		return nil
	}
	for name, r := range w.known {
		if !r.Concerns(w.ports) && !r.asks(w.ports) {
			continue
		}
		was := r.Loose
		by, reached := hooks[chainOf(r)]
		r.Hooks, r.Loose = slices.Sorted(maps.Keys(by)), !reached
		if by[""] {
			r.Hooks = nil
		}
		if placed := w.placed[name]; placed && was != r.Loose {
			if now, err := w.read(r); err == nil {
				r.Packets, r.Bytes = now.Packets, now.Bytes
			}
			w.came(r)
			changed = append(changed, RuleChange{Kind: Update, Time: time.Now(), Rule: &r})
		}
		w.known[name], w.placed[name] = r, true
	}
	return changed
}

// hooks are those from which a packet gets to a chain; "" is one that is not known.
// A chain that is not among them is reached by none.
func (w *ruleWatch) hooks() (map[chainName]map[string]bool, error) {
	tables, err := w.tables()
	if err != nil {
		return nil, err
	}
	msgs, err := w.dump(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, err
	}
	found := map[chainName]map[string]bool{}
	var chains []chainName
	clear(w.chains)
	for _, m := range msgs {
		c, h, hook, based, err := decodeChain(m.Data)
		if err != nil {
			return nil, err
		}
		w.chains[h] = c.chain
		if chains = append(chains, c); based && !tables[tableName{c.family, c.table}].dormant {
			found[c] = map[string]bool{hook: true}
		}
	}
	jumps := map[chainName]map[string]bool{}
	for _, r := range w.known {
		w.jumps(jumps, r)
	}
	spread(found, jumps, chains)
	return found, nil
}

// jumps notes where a rule leads to.
func (w *ruleWatch) jumps(jumps map[chainName]map[string]bool, r Rule) {
	if r.Jump == "" {
		return
	}
	if set, mapped := strings.CutPrefix(r.Jump, anyChain); mapped {
		if c := w.holds(setName{r.Family, r.Table, set}); c.all {
			for _, e := range c.list {
				if e.jump != "" {
					lead(jumps, chainOf(r), e.jump)
				}
			}
			return
		}
	}
	lead(jumps, chainOf(r), r.Jump)
}

func lead(jumps map[chainName]map[string]bool, from chainName, to string) {
	if jumps[from] == nil {
		jumps[from] = map[string]bool{}
	}
	jumps[from][to] = true
}

// spread gives each chain the hooks of those that jump to it.
func spread(found map[chainName]map[string]bool, jumps map[chainName]map[string]bool, chains []chainName) {
	add := func(c chainName, by map[string]bool) (more bool) {
		if found[c] == nil {
			found[c], more = map[string]bool{}, true
		}
		before := len(found[c])
		maps.Copy(found[c], by)
		return more || len(found[c]) > before
	}
	for todo := slices.Collect(maps.Keys(found)); len(todo) > 0; {
		from := todo[0]
		todo = todo[1:]
		for to := range jumps[from] {
			if to[:1] != anyChain {
				if c := (chainName{from.family, from.table, to}); add(c, found[from]) {
					todo = append(todo, c)
				}
				continue
			}
			for _, c := range chains {
				if c.family == from.family && c.table == from.table && add(c, map[string]bool{"": true}) {
					todo = append(todo, c)
				}
			}
		}
	}
}

// decodeChain reads the body of NFT_MSG_NEWCHAIN; based is false of a chain that
// only others lead to.
func decodeChain(body []byte) (c chainName, h chainHandle, hook string, based bool, err error) {
	family, ad, err := attributes(body)
	if err != nil {
		return c, h, "", false, err
	}
	c.family = family
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			c.table = ad.String()
		case unix.NFTA_CHAIN_HANDLE:
			h.handle = ad.Uint64()
		case unix.NFTA_CHAIN_NAME:
			c.chain = ad.String()
		case unix.NFTA_CHAIN_HOOK:
			based = true
			ad.Nested(func(h *netlink.AttributeDecoder) error {
				for h.Next() {
					if n := h.Type(); n == unix.NFTA_HOOK_HOOKNUM && slices.Contains([]string{"ip", "ip6", "inet"}, family) {
						if num := h.Uint32(); int(num) < len(inetHooks) {
							hook = inetHooks[num]
						}
					}
				}
				return nil
			})
		}
	}
	h.tableName = tableName{c.family, c.table}
	return c, h, hook, based, ad.Err()
}

// lacks is an interface that a rule asks for and that the namespace does not have.
func (w *ruleWatch) lacks(r Rule) (name string) {
	if len(r.links) == 0 {
		return ""
	}
	err := w.ns.Do(func() error {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, l := range r.links {
			if !slices.ContainsFunc(all, func(i net.Interface) bool { return i.Name == l }) {
				name = l
			}
		}
		return nil
	})
	if err != nil {
		return "" // not known
	}
	return name
}
