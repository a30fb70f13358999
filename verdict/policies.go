package verdict

import "slices"

// joinPolicies lets the first of several policies stand for the others: those that one
// process gave to chains with it and took back with it, as a firewall does in a panic.
func joinPolicies(list []*standing) {
	policy := func(s *standing) bool { return s.rule.Handle == 0 && s.rule.Packets == nil }
	for i, s := range list {
		first := slices.IndexFunc(list[:i], func(o *standing) bool {
			return policy(o) && !o.part && o.at == s.at && o.by == s.by && o.rule.Family == s.rule.Family && o.rule.Text == s.rule.Text &&
				s.came.at-o.came.at <= reload && (o.went.n == 0) == (s.went.n == 0) && (s.went.at-o.went.at).Abs() <= reload
		})
		if s.part = policy(s) && first >= 0; s.part {
			list[first].more++
		}
	}
}
