package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestUnite: the names of two parts, within their bounds.
func TestUnite(t *testing.T) {
	names := func(target string, tags, groups []string) Names {
		return MakeNames(&Proposal{Scheme: "https", Authority: []byte("a.example"), Target: []byte(target), Tags: tags, Groups: groups})
	}
	many := func(of string, n, size int) (list []string) {
		for i := range n {
			name := fmt.Sprint(of, i)
			list = append(list, name+strings.Repeat("-", max(0, size-len(name))))
		}
		return list
	}
	// Of the longest: what is packed besides is the place, 23 bytes, the count, 2 bytes
	// from 128 on, and 2 bytes of length for each name.
	fits := (MaxNamesSize - 25) / 1026
	for _, c := range []struct {
		name           string
		n, o           Names
		tags, groups   []string
		target         string
		united, itself bool
	}{
		{"nothing", names("/a", nil, nil), names("/a", nil, nil), nil, nil, "/a", true, true},
		{"the same", names("/a", []string{"t"}, []string{"G"}), names("/a", []string{"t"}, []string{"G"}), []string{"t"}, []string{"G"}, "/a", true, true},
		{"fewer", names("/a", []string{"t", "u"}, []string{"G"}), names("/a", []string{"u"}, nil), []string{"t", "u"}, []string{"G"}, "/a", true, true},
		{"more", names("/a", []string{"t"}, []string{"G"}), names("/a", []string{"u", "t", "v", "u"}, []string{"g"}), []string{"t", "u", "v"}, []string{"G", "g"}, "/a", true, false},
		{"a tag is no group", names("/a", []string{"x"}, nil), names("/a", nil, []string{"x"}), []string{"x"}, []string{"x"}, "/a", true, false},
		{"another query", names("/a?1", []string{"t"}, nil), names("/a?22", []string{"u"}, nil), []string{"t", "u"}, nil, "/a?1", true, false},
		{"another path", names("/a", nil, nil), names("/b", nil, nil), nil, nil, "", false, false},
		{"most tags", names("/a", many("a", MaxNames-1, 0), nil), names("/a", []string{"b"}, nil), append(many("a", MaxNames-1, 0), "b"), nil, "/a", true, false},
		{"too many tags", names("/a", many("a", MaxNames, 0), nil), names("/a", []string{"b"}, nil), nil, nil, "", false, false},
		{"too many groups", names("/a", nil, many("a", MaxNames, 0)), names("/a", nil, []string{"b"}), nil, nil, "", false, false},
		{"most bytes", names("/a", many("a", fits-1, 1024), nil), names("/a", many("b", 1, 1024), nil), slices.Concat(many("a", fits-1, 1024), many("b", 1, 1024)), nil, "/a", true, false},
		{"too many bytes", names("/a", many("a", fits, 1024), nil), names("/a", many("b", 1, 1024), nil), nil, nil, "", false, false},
	} {
		got, ok := c.n.Unite(c.o)
		if ok != c.united || ok && (len(got.Packed()) == len(c.n.Packed())) != c.itself || len(got.Packed()) > MaxNamesSize {
			t.Errorf("%s: united %v, %d bytes", c.name, ok, len(got.Packed()))
		}
		if !ok {
			continue
		}
		if _, err := OpenNames(got.Packed()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if m := got.Meta(); !slices.Equal(m.Tags, c.tags) || !slices.Equal(m.Groups, c.groups) || m.Target != c.target || m.Authority != "a.example" {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
	for _, o := range []*Proposal{{Scheme: "http", Authority: []byte("a")}, {Scheme: "https", Authority: []byte("b")}} {
		o.Target = []byte("/")
		if _, ok := MakeNames(&Proposal{Scheme: "https", Authority: []byte("a"), Target: o.Target}).Unite(MakeNames(o)); ok {
			t.Errorf("united with those of %s://%s", o.Scheme, o.Authority)
		}
	}
}
