package beatstats

import "testing"

// A key added to the table may need more room in a body.
func TestRoomForTheKeyTable(t *testing.T) {
	values := 0
	for _, k := range beatKeys {
		if k.value != nil {
			values++
		}
	}
	if beatNodes > maxNodes || values > maxValues || maxNodes-beatNodes > 8 || maxValues-values > 8 {
		t.Errorf("%d nodes with room for %d, %d values with room for %d", beatNodes, maxNodes, values, maxValues)
	}
}
