package beatstats

import (
	"strings"

	"github.com/tidwall/gjson"
)

// beatKey is one line of the key table: where a Beat publishes a number or a
// text, and where it goes. Exactly one of value, text and float is set.
type beatKey struct {
	path   string
	value  func(*beatBody) **Value
	text   func(*beatBody) *string
	float  func(*beatBody) **float64
	always bool // a counter that every release has from its start
}

// keyNode is the key table as a tree, so that one pass over a body reads all
// of it, passes over whatever no key leads to, and sees keys given twice.
type keyNode struct {
	name     string
	id       int // index into beatBody.seen
	children []*keyNode
	key      *beatKey
}

// child is the node below n of that name: among ten of them a look at each is
// faster than a map.
func (n *keyNode) child(name string) *keyNode {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Room for the key table, which a test holds against it.
const (
	maxNodes  = 88
	maxValues = 44
)

// beatTree is the root of beatKeys.
var beatTree, beatNodes = plant(beatKeys)

func plant(table []beatKey) (root *keyNode, nodes int) {
	root = &keyNode{}
	for i := range table {
		n := root
		for name := range strings.SplitSeq(table[i].path, ".") {
			child := n.child(name)
			if child == nil {
				child = &keyNode{name: name, id: nodes}
				n.children = append(n.children, child)
				nodes++
			}
			n = child
		}
		n.key = &table[i]
	}
	return root, nodes
}

// walk reads the members of obj that n's subtree names.
func (b *beatBody) walk(obj gjson.Result, n *keyNode) {
	obj.ForEach(func(name, v gjson.Result) bool {
		child := n.child(name.Str)
		if child == nil {
			return true
		}
		again := b.seen[child.id]
		b.seen[child.id] = true
		if child.key != nil {
			b.read(child.key, v, again)
		} else if again {
			b.note("the object %s is given more than once", quote(name.Str, 40))
		}
		if v.IsObject() {
			b.walk(v, child)
		}
		return true
	})
}

func (b *beatBody) read(key *beatKey, v gjson.Result, again bool) {
	if key.value == nil {
		if again {
			b.note("%s is given more than once", key.path)
		}
		if key.text != nil {
			*key.text(b) = strings.Clone(strings.ToValidUTF8(v.String(), "\ufffd"))
		} else {
			*key.float(b) = duration(v)
		}
		return
	}
	*key.value(b) = nil
	if read, ok := readValue(key.path, v); ok {
		*key.value(b) = b.keep(read)
		if again {
			(*key.value(b)).twice()
		}
	}
}

// keep gives a number a place; one for which the body has no room left, since it
// gives keys more than once, has its own.
func (b *beatBody) keep(v Value) *Value {
	var place *Value
	if b.used < len(b.values) {
		place = &b.values[b.used]
		b.used++
	} else {
		place = new(Value)
	}
	*place = v
	return place
}
