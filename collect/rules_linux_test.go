package collect

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/timeline"
)

// nft runs commands inside.
func nft(t *testing.T, ns *netns.NS, commands string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	if err := ns.Do(cmd.Run); err != nil {
		t.Fatalf("nft: %v; \"make packages\" installs it", err)
	}
}

// A blocklist that is loaded anew has thousands of elements: some are recorded, the
// others are counted, and the end of one that was recorded is never left out.
func TestRulesOfBlocklist(t *testing.T) {
	ns, _ := inside(t)
	nft(t, ns, "table inet x { set s { type ipv4_addr ; } ; chain y { type filter hook output priority 0 ; ip daddr @s drop ; } ; }\n")
	o := observe(t)
	s := &Rules{At: "host", NS: ns, Ports: flow.NewPorts(5044), Every: 50 * time.Millisecond}
	told := func(kind middlebox.EventKind) func(timeline.Record) bool {
		return func(k timeline.Record) bool {
			return k.Rule != nil && k.Rule.Change.Kind == kind && k.Rule.Change.Rule.Element != ""
		}
	}
	stop := o.start(s)
	o.await("the watch", 1, func(k timeline.Record) bool { return k.Rule != nil && k.Rule.Change.Kind == middlebox.Present })
	list := make([]string, 1000)
	for i := range list {
		list[i] = fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250)
	}
	nft(t, ns, "add element inet x s { "+strings.Join(list, ", ")+" }\n")
	o.await("the first elements", 1, told(middlebox.New))
	nft(t, ns, "flush set inet x s\n")
	o.await("the end", 1, told(middlebox.Destroy))
	nft(t, ns, "add rule inet x y tcp dport 5044 drop\n")
	o.await("what comes after", 1, func(k timeline.Record) bool {
		return k.Rule != nil && k.Rule.Change.Rule.Text == "meta l4proto tcp tcp dport 5044 drop"
	})
	stop()
	came, went := map[string]bool{}, map[string]bool{}
	for _, k := range o.all(told(middlebox.New)) {
		came[k.Rule.Change.Rule.Element] = true
	}
	for _, k := range o.all(told(middlebox.Destroy)) {
		went[k.Rule.Change.Rule.Element] = true
	}
	for e := range came {
		if !went[e] {
			t.Errorf("the end of %s is not told", e)
		}
	}
	lost := int64(0)
	for _, k := range o.all(func(k timeline.Record) bool { return k.Gap != nil }) {
		lost += k.Gap.Lost
	}
	first, last := o.all(told(middlebox.New))[0], o.all(told(middlebox.Destroy))
	most := burstMost * (2 + int((last[len(last)-1].Mono-first.Mono)/burstPace))
	if len(came) > most || len(went) > len(came)+most || int(lost) != 2*len(list)-len(came)-len(went) {
		t.Errorf("%d came, %d went, %d were left out", len(came), len(went), lost)
	}
}

// Elements go with their rule: however often one comes anew, the next one's are recorded.
func TestRulesForgetsElements(t *testing.T) {
	o := observe(t)
	w := (&Rules{At: "host", Ports: flow.NewPorts(5044)}).record(o.Recorder)
	take := func(kind middlebox.EventKind, handle int, element string) {
		w.burst.told = 0
		w.take(middlebox.RuleChange{Kind: kind, Rule: &middlebox.Rule{Family: "ip", Table: "x", Handle: uint64(handle), Set: "s", Element: element}})
	}
	const rules = maxElements + 1
	for handle := range rules {
		take(middlebox.New, handle, "10.1.2.3")
		take(middlebox.Destroy, handle, "")
	}
	if n := len(o.all(func(k timeline.Record) bool { return k.Rule != nil && k.Rule.Change.Kind == middlebox.New })); n != rules || w.stand != 0 || len(w.told) != 0 {
		t.Errorf("%d of %d elements are recorded, %d are taken to stand", n, rules, w.stand)
	}
	take(middlebox.New, 1, "10.1.2.3")
	take(middlebox.New, 1, "10.1.2.3")
	take(middlebox.Destroy, 1, "10.1.2.3")
	if w.stand != 0 {
		t.Errorf("%d stand", w.stand)
	}
}

// What a single reading has is what stands there.
func TestRulesOnce(t *testing.T) {
	ns, l := inside(t)
	nft(t, ns, "table inet x { set s { type inet_service ; elements = { 80, 5044 } ; } ; chain y { type filter hook forward priority 0 ; policy drop ; tcp dport @s drop ; udp dport 53 drop ; } ; }\n")
	client, server := dial(t, ns, l)
	defer client.Close()
	defer server.Close()
	o := observe(t)
	ports := flow.NewPorts(5044)
	if err := o.Once(t.Context(), &Rules{At: "host", NS: ns, Ports: ports}, &Links{At: "host", NS: ns, Ports: ports}); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, k := range o.all(func(k timeline.Record) bool { return k.Rule != nil }) {
		texts = append(texts, k.Rule.Change.Rule.Text)
	}
	for _, want := range []string{"meta l4proto tcp tcp dport in @s drop", "meta l4proto tcp tcp dport in @s drop, with 5044 in @s", "policy drop"} {
		if !strings.Contains(strings.Join(texts, "\n")+"\n", want+"\n") {
			t.Errorf("%q, want %q", texts, want)
		}
	}
	if len(texts) != 3 {
		t.Errorf("rules %q", texts)
	}
	links := o.all(func(k timeline.Record) bool { return k.Link != nil })
	if len(links) != 1 || links[0].Link.Link.Name != "lo" || links[0].Link.Link.RxDropped == nil {
		t.Errorf("links %+v", links)
	}
	if failed := o.all(func(k timeline.Record) bool { return k.Failure != nil }); len(failed) > 0 {
		t.Errorf("failure %+v", failed[0].Failure)
	}
}
