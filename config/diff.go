package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Diff says what changes from one configuration to another, a line for each key:
// "path: before -> after". What is absent shows as (absent), and a whole block
// that comes or goes as what it sets beyond the defaults. Nothing: they are
// equal. Contents of files, as of certificates, are not compared.
func Diff(before, after *Config) []string {
	d := &differ{before: reflect.ValueOf(before).Elem(), after: reflect.ValueOf(after).Elem()}
	d.structs("", d.before, d.after)
	return d.lines
}

// differ collects the differences between two roots.
type differ struct {
	before, after reflect.Value
	lines         []string
}

const absent = "(absent)"

func (d *differ) line(path, before, after string) {
	d.lines = append(d.lines, path+": "+before+" -> "+after)
}

func (d *differ) structs(path string, a, b reflect.Value) {
	for _, k := range schemas[a.Type()] {
		fa, fb := a.Field(k.index), b.Field(k.index)
		at := path
		if !k.statuses {
			at = child(path, k.name)
		}
		switch {
		case k.phase != "":
		case fa.Kind() == reflect.Map:
			d.maps(at, fa, fb)
		case fa.Kind() == reflect.Slice && isBlock(fa.Type().Elem()):
			d.lists(at, fa, fb)
		default:
			d.values(at, fa, fb)
		}
	}
}

// values compares two values of one type, each perhaps absent: nil pointers,
// empty strings.
func (d *differ) values(path string, a, b reflect.Value) {
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		d.structs(path, a.Elem(), b.Elem())
	case isBlock(a.Type()):
		d.structs(path, a, b)
	default:
		if before, after := d.brief(a, d.before), d.brief(b, d.after); before != after {
			d.line(path, before, after)
		}
	}
}

func (d *differ) maps(path string, a, b reflect.Value) {
	names := sortedKeys(a)
	for _, name := range sortedKeys(b) {
		if !a.MapIndex(name).IsValid() {
			names = append(names, name)
		}
	}
	for _, name := range names {
		at := child(path, fmt.Sprint(name.Interface()))
		va, vb := a.MapIndex(name), b.MapIndex(name)
		switch {
		case !va.IsValid():
			d.line(at, absent, d.brief(vb, d.after))
		case !vb.IsValid():
			d.line(at, d.brief(va, d.before), absent)
		default:
			d.values(at, va, vb)
		}
	}
}

// lists compares two lists of blocks. What they begin and end with alike is set
// aside, so that one block put in or taken out is one line; the rest is compared
// in order. A path's index is the later list's, of what went the earlier one's.
func (d *differ) lists(path string, a, b reflect.Value) {
	same := func(i, j int) bool { return reflect.DeepEqual(a.Index(i).Interface(), b.Index(j).Interface()) }
	start, endA, endB := 0, a.Len(), b.Len()
	for start < endA && start < endB && same(start, start) {
		start++
	}
	for endA > start && endB > start && same(endA-1, endB-1) {
		endA, endB = endA-1, endB-1
	}
	for i := start; i < max(endA, endB); i++ {
		switch {
		case i >= endA:
			d.line(element(path, i), absent, d.brief(b.Index(i), d.after))
		case i >= endB:
			d.line(element(path, i), d.brief(a.Index(i), d.before), absent)
		default:
			d.structs(element(path, i), a.Index(i), b.Index(i))
		}
	}
}

// brief writes a value on one line; of a block, what differs from the defaults
// under root.
func (d *differ) brief(v, root reflect.Value) string {
	if isAbsent(v) {
		return absent
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	var node *yaml.Node
	switch {
	case isBlock(v.Type()):
		base := reflect.New(v.Type()).Elem()
		setDefaults(base, root)
		node = encodeStruct(v, base)
	case v.Kind() == reflect.Slice:
		node = encodeValue(v)
	default:
		return scalarText(v)
	}
	var out strings.Builder
	writeFlow(&out, node)
	return out.String()
}

// writeFlow writes a tree on one line, however long.
func writeFlow(out *strings.Builder, node *yaml.Node) {
	switch node.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i, pair := range slices.Collect(slices.Chunk(node.Content, 2)) {
			if i > 0 {
				out.WriteString(", ")
			}
			out.WriteString(pair[0].Value + ": ")
			writeFlow(out, pair[1])
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range node.Content {
			if i > 0 {
				out.WriteString(", ")
			}
			writeFlow(out, item)
		}
		out.WriteByte(']')
	default:
		out.WriteString(node.Value)
	}
}
