package beatstats

import (
	"strings"

	"github.com/tidwall/gjson"
)

// beatKey is one line of the key table: where a Beat publishes a number or a
// text, and where it goes. Exactly one of value and text is set.
type beatKey struct {
	path  string
	value func(*beatBody) **Value
	text  func(*beatBody) *string
}

// keyNode is the key table as a tree, so that one pass over a body reads all
// of it, passes over whatever no key leads to, and sees keys given twice.
type keyNode struct {
	id       int // index into beatBody.seen
	children map[string]*keyNode
	key      *beatKey
}

// beatTree is the root of beatKeys, and beatNodes the number of nodes below it.
var beatTree, beatNodes = plant(beatKeys)

func plant(table []beatKey) (root *keyNode, nodes int) {
	root = &keyNode{children: map[string]*keyNode{}}
	for i := range table {
		n := root
		for name := range strings.SplitSeq(table[i].path, ".") {
			child := n.children[name]
			if child == nil {
				child = &keyNode{id: nodes, children: map[string]*keyNode{}}
				n.children[name] = child
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
		child := n.children[name.Str]
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
	if key.text != nil {
		if again {
			b.note("%s is given more than once", key.path)
		}
		*key.text(b) = strings.ToValidUTF8(v.String(), "\ufffd")
		return
	}
	read := newValue(key.path, v)
	if again {
		read.twice()
	}
	*key.value(b) = read
}
