package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// decoder fills a Config from a tree that document has checked, and remembers
// where each key stood. One goroutine's, for one file.
type decoder struct {
	*reporter
	config *Config
	// nodes are the values given in the file, by path; failed are those of them
	// that could not be read, whose keys hold no meaningful value.
	nodes  map[string]*yaml.Node
	failed map[string]bool
}

func newDecoder(file string) *decoder {
	return &decoder{
		reporter: &reporter{file: file}, config: Default(),
		nodes: make(map[string]*yaml.Node), failed: make(map[string]bool),
	}
}

// wrong reports an error in the value at path: where the file does not give it,
// at the nearest block around it.
func (d *decoder) wrong(path, format string, args ...any) {
	for at := path; ; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if node := d.nodes[at]; node != nil {
			d.node(node, path, format, args...)
			return
		}
		if at == "" {
			d.at(1, 1, path, format, args...)
			return
		}
	}
}

// onLine says where the value at path stands; nothing where no file gives it.
func (d *decoder) onLine(path string) string {
	if node := d.nodes[path]; node != nil {
		return " on line " + strconv.Itoa(node.Line)
	}
	return ""
}

// value decodes node into v, which is what k describes.
func (d *decoder) value(node *yaml.Node, path string, k *key, v reflect.Value) {
	d.nodes[path] = node
	before := len(d.errors)
	defer func() {
		if len(d.errors) > before {
			d.failed[path] = true
		}
	}()
	switch {
	case node.Kind == yaml.AliasNode: // reported by checkTree
	case isNull(node):
		d.node(node, path, "the key has no value: give it one or remove it")
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem(), reflect.ValueOf(d.config).Elem())
		d.mapping(node, path, v.Elem())
	case v.Kind() == reflect.Slice:
		d.list(node, path, k, v)
	case v.Kind() == reflect.Map:
		d.named(node, path, k, v)
	case isBlock(v.Type()):
		d.mapping(node, path, v)
	case node.Kind != yaml.ScalarNode:
		d.node(node, path, "wants a single value, not a %s", kindName(node))
	case isQuoted(node) && (v.Kind() == reflect.Bool || v.Kind() == reflect.Int):
		d.node(node, path, "%s is text: write it without quotes", quote(node.Value))
	default:
		if err := k.setScalar(v, node.Value); err != nil {
			d.node(node, path, "%v", err)
		}
	}
}

func isQuoted(node *yaml.Node) bool {
	return node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "block of keys"
	case yaml.SequenceNode:
		return "list"
	}
	return "single value"
}

// mapping decodes a block of keys into v, a struct that has its defaults. The
// keys are taken in the struct's order, so that what others inherit comes first.
func (d *decoder) mapping(node *yaml.Node, path string, v reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.node(node, path, "wants a block of keys, not a %s", kindName(node))
		return
	}
	keys := schemas[v.Type()]
	given := make(map[string]int, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if _, again := given[name.Value]; again || !isPlainKey(name) {
			continue // reported by checkKeys
		}
		given[name.Value] = i
		if !slices.ContainsFunc(keys, func(k *key) bool { return k.name == name.Value || k.statuses && isStatus(name.Value) }) {
			d.node(name, child(path, name.Value), "%s", unknownKey(name.Value, v.Type()))
		}
	}
	for _, k := range keys {
		at := child(path, k.name)
		i, ok := given[k.name]
		switch {
		case k.statuses:
			d.statuses(node, path, k, v.Field(k.index))
		case ok && k.phase != "":
			d.node(node.Content[i], at, "not built yet (%s): remove the key", k.phase)
		case ok:
			d.value(node.Content[i+1], at, k, v.Field(k.index))
		case k.required:
			d.node(node, at, "the key is missing")
		}
	}
}

func isPlainKey(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && !isNull(node) && node.ShortTag() != "!!merge"
}

// list decodes a sequence into v, a slice.
func (d *decoder) list(node *yaml.Node, path string, k *key, v reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.node(node, path, "wants a list, not a %s", kindName(node))
		return
	}
	if k.required && len(node.Content) == 0 {
		d.node(node, path, "the list is empty")
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(node.Content)))
	seen := make(map[string]bool)
	for i, item := range node.Content {
		one := reflect.New(v.Type().Elem()).Elem()
		if isBlock(one.Type()) {
			setDefaults(one, reflect.ValueOf(d.config).Elem())
		}
		before := len(d.errors)
		d.value(item, element(path, i), k, one)
		if item.Kind == yaml.ScalarNode && len(d.errors) == before {
			text := scalarText(one)
			if one.Type() == reflect.TypeFor[FieldName]() {
				text = strings.ToLower(text)
			}
			if seen[text] {
				d.node(item, element(path, i), "%s is in the list twice", quote(text))
			}
			seen[text] = true
		}
		// Also after an error, so that an element's index is its path's.
		v.Set(reflect.Append(v, one))
	}
}

// named decodes a mapping into v, a map from names to structs.
func (d *decoder) named(node *yaml.Node, path string, k *key, v reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.node(node, path, "wants a block of keys, not a %s", kindName(node))
		return
	}
	if k.required && len(node.Content) == 0 {
		d.node(node, path, "the block is empty")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if !isPlainKey(name) || v.MapIndex(reflect.ValueOf(name.Value)).IsValid() {
			continue // reported by checkKeys
		}
		at := child(path, name.Value)
		if err := shapes[k.shape](name.Value); err != nil {
			d.node(name, at, "%v", err)
		}
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(node.Content[i+1], at, k, one)
		if !one.IsNil() {
			v.SetMapIndex(reflect.ValueOf(name.Value), one)
		}
	}
}

// statuses decodes those keys of a mapping that are status codes into v.
func (d *decoder) statuses(node *yaml.Node, path string, k *key, v reflect.Value) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if !isPlainKey(name) || !isStatus(name.Value) {
			continue
		}
		status, _ := strconv.Atoi(name.Value) // isStatus: three digits
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		if v.MapIndex(reflect.ValueOf(status)).IsValid() {
			continue // reported by checkKeys
		}
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(node.Content[i+1], child(path, name.Value), k, one)
		v.SetMapIndex(reflect.ValueOf(status), one)
	}
}

// isStatus reports whether s is the status code of a final response.
func isStatus(s string) bool {
	return len(s) == 3 && '2' <= s[0] && s[0] <= '5' &&
		'0' <= s[1] && s[1] <= '9' && '0' <= s[2] && s[2] <= '9'
}
