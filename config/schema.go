package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is what a struct field's tags say about a key of the file.
type key struct {
	name     string // the key; empty for the map of status codes
	index    int    // of the struct field
	typ      reflect.Type
	preset   string // the default, as in the file
	inherit  string
	required bool
	min, max int64 // in nanoseconds, bytes or as they are
	minText  string
	maxText  string
	enum     []string
	later    []string
	none     string
	shape    string
	phase    string
	statuses bool // a map from status codes, whose keys stand beside the others
}

// schemas holds the keys of every struct type reachable from Config, in order.
// Built once, from the tags, and never changed; a bad tag is a mistake in this
// package and panics, in whatever runs first, the tests.
var schemas = func() map[reflect.Type][]*key {
	all := make(map[reflect.Type][]*key)
	addSchema(all, reflect.TypeFor[Config]())
	return all
}()

func addSchema(all map[reflect.Type][]*key, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isText(t) || t == reflect.TypeFor[Unbuilt]() || all[t] != nil {
		return
	}
	keys := make([]*key, 0, t.NumField())
	for i := range t.NumField() {
		if k := readTags(t.Field(i)); k != nil {
			k.index = i
			keys = append(keys, k)
			addSchema(all, k.typ)
		}
	}
	all[t] = keys
}

// readTags reads one struct field's tags; nil for a field that is no key.
func readTags(f reflect.StructField) *key {
	name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return nil
	}
	k := &key{
		name: name, statuses: option == "statuses", typ: f.Type,
		preset: f.Tag.Get("default"), inherit: f.Tag.Get("inherit"),
		required: f.Tag.Get("required") == "true",
		min:      math.MinInt64, max: math.MaxInt64,
		minText: f.Tag.Get("min"), maxText: f.Tag.Get("max"),
		none: f.Tag.Get("none"), shape: f.Tag.Get("shape"), phase: f.Tag.Get("phase"),
	}
	if s := f.Tag.Get("enum"); s != "" {
		k.enum = strings.Split(s, ",")
	}
	if s := f.Tag.Get("later"); s != "" {
		k.later = strings.Split(s, ",")
	}
	if name == "" && !k.statuses {
		panic("config: the field " + f.Name + " has no key")
	}
	if _, known := shapes[k.shape]; k.shape != "" && !known {
		panic("config: the field " + f.Name + " has an unknown shape")
	}
	var err error
	if k.minText != "" {
		if k.min, err = k.number(k.minText); err != nil {
			panic("config: the field " + f.Name + ": min: " + err.Error())
		}
	}
	if k.maxText != "" {
		if k.max, err = k.number(k.maxText); err != nil {
			panic("config: the field " + f.Name + ": max: " + err.Error())
		}
	}
	return k
}

// number reads what the file says for a duration, size or count.
func (k *key) number(text string) (int64, error) {
	t := k.typ
	if t.Kind() == reflect.Map {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		d, err := ParseDuration(text)
		return int64(d), err
	case reflect.TypeFor[Size]():
		s, err := ParseSize(text)
		return int64(s), err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text || n != int64(int(n)) {
		return 0, fmt.Errorf("%s is not a whole number", quote(text))
	}
	return n, nil
}

// isText reports whether values of t are written as one scalar that t reads
// itself.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isBlock reports whether values of t are written as a block of keys.
func isBlock(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// isNumber reports whether values of t are a duration, size or count.
func isNumber(t reflect.Type) bool { return t.Kind() == reflect.Int64 || t.Kind() == reflect.Int }

// setScalar sets v, of k's type or of its elements', from text as it stands in
// the file.
func (k *key) setScalar(v reflect.Value, text string) error {
	switch {
	case isNumber(v.Type()):
		return k.setNumber(v, text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s is neither true nor false", quote(text))
		}
		v.SetBool(text == "true")
		return nil
	}
	text, err := k.choose(text)
	if err != nil {
		return err
	}
	if k.shape != "" {
		if err := shapes[k.shape](text); err != nil {
			return err
		}
	}
	if isText(v.Type()) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	v.SetString(text)
	return nil
}

func (k *key) setNumber(v reflect.Value, text string) error {
	if text == "none" && k.none != "" {
		v.SetInt(None)
		return nil
	}
	n, err := k.number(text)
	switch {
	case err != nil:
		return err
	case n < k.min && k.min == k.max, n > k.max && k.min == k.max:
		return fmt.Errorf("must be %s", k.minText)
	case n < k.min:
		return fmt.Errorf("%s is too little: at least %s", clip(text), k.minText)
	case n > k.max:
		return fmt.Errorf("%s is too much: at most %s", clip(text), k.maxText)
	}
	v.SetInt(n)
	return nil
}

// choose returns the choice that text names. Names of fields are the same in
// any case.
func (k *key) choose(text string) (string, error) {
	if k.enum == nil {
		return text, nil
	}
	fold := k.typ == reflect.TypeFor[[]FieldName]()
	for _, choice := range k.enum {
		if choice == text || fold && strings.EqualFold(choice, text) {
			return choice, nil
		}
	}
	if slices.Contains(k.later, text) {
		return "", fmt.Errorf("%s is not built yet: use %s", text, orList(k.enum))
	}
	return "", fmt.Errorf("%s is not one of %s%s", quote(text), orList(k.enum), didYouMean(text, k.enum))
}

// setDefaults gives every key under v, a struct, its default. root is the tree
// that inherited blocks are taken from: they must have been decoded before.
func setDefaults(v, root reflect.Value) {
	for _, k := range schemas[v.Type()] {
		f := v.Field(k.index)
		switch {
		case k.phase != "":
		case k.inherit != "":
			f.Set(lookUp(root, k.inherit))
		case k.preset == "" && isBlock(f.Type()):
			setDefaults(f, root)
		case k.preset == "":
		case f.Kind() == reflect.Slice:
			for text := range strings.SplitSeq(k.preset, ",") {
				one := reflect.New(f.Type().Elem()).Elem()
				k.mustSet(one, text)
				f.Set(reflect.Append(f, one))
			}
		default:
			k.mustSet(f, k.preset)
		}
	}
}

func (k *key) mustSet(v reflect.Value, text string) {
	if err := k.setScalar(v, text); err != nil {
		panic("config: the default of " + k.name + ": " + err.Error())
	}
}

// lookUp returns the struct at a dotted path of keys.
func lookUp(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		keys := schemas[v.Type()]
		i := slices.IndexFunc(keys, func(k *key) bool { return k.name == name })
		v = v.Field(keys[i].index)
	}
	return v
}
