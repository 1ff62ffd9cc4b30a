package storage

import (
	"reflect"
	"testing"
)

// TestOpenNames: what was packed opens, and damage is an error, never a panic.
func TestOpenNames(t *testing.T) {
	p := &Proposal{Scheme: "https", Authority: []byte("a.example"), Target: []byte("/x"), Tags: []string{"t1", "t2"}, Groups: []string{"G"}}
	packed := MakeNames(p).Packed()
	n, err := OpenNames(packed)
	if err != nil {
		t.Fatal(err)
	}
	if m := n.Meta(); !reflect.DeepEqual(m, Meta{Scheme: "https", Authority: "a.example", Target: "/x", Tags: p.Tags, Groups: p.Groups}) {
		t.Fatalf("%+v", m)
	}
	for i := range packed {
		if _, err := OpenNames(packed[:i:i]); err == nil && i < len(packed)-2 {
			t.Errorf("%d of %d bytes opened", i, len(packed))
		}
		for bit := range 8 {
			b := append([]byte(nil), packed...)
			b[i] ^= 1 << bit
			if n, err := OpenNames(b); err == nil {
				n.Meta() // does not panic
				n.Lists()
			}
		}
	}
}
