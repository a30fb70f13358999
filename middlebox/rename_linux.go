package middlebox

// chainHandle names a chain for its life, whatever it is called.
type chainHandle struct {
	tableName
	handle uint64
}

// called takes the name of a chain that came or changed. The kernel tells of one that
// has another name now, and not of its rules, nor of those that jump there.
func (w *ruleWatch) called(h chainHandle, now chainName) {
	old, known := w.chains[h]
	w.chains[h] = now.chain
	if !known || old == now.chain {
		return
	}
	was := chainName{now.family, now.table, old}
	for name, r := range w.known {
		if r.Family != now.family || r.Table != now.table {
			continue
		}
		if r.Chain == old {
			r.Chain = now.chain
		}
		if r.Jump == old {
			r.Jump = now.chain
		}
		w.known[name] = r
	}
	if p, ok := w.policies[was]; ok {
		delete(w.policies, was)
		p.Chain = now.chain
		w.policies[now] = p
	}
}
