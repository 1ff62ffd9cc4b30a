package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// YAML writes the whole configuration, defaults included, such that Parse reads
// the same from it.
func (c *Config) YAML() ([]byte, error) {
	out, err := yaml.Marshal(encodeStruct(reflect.ValueOf(c).Elem(), reflect.Value{}))
	if err != nil {
		return nil, fmt.Errorf("config: encoding: %w", err)
	}
	return out, nil
}

// encodeStruct is v as a tree. Where base, of v's type, is valid, what equals it
// is left out.
func encodeStruct(v, base reflect.Value) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, k := range schemas[v.Type()] {
		f := v.Field(k.index)
		switch {
		case k.phase != "" || isAbsent(f):
		case base.IsValid() && reflect.DeepEqual(f.Interface(), base.Field(k.index).Interface()):
		case base.IsValid() && isBlock(f.Type()):
			node.Content = append(node.Content, scalarNode(k.name), encodeStruct(f, base.Field(k.index)))
		case k.statuses:
			for _, status := range sortedKeys(f) {
				name := scalarNode(strconv.FormatInt(status.Int(), 10))
				node.Content = append(node.Content, name, scalarNode(scalarText(f.MapIndex(status))))
			}
		default:
			node.Content = append(node.Content, scalarNode(k.name), encodeValue(f))
		}
	}
	return node
}

// isAbsent reports whether f holds what is there when the file says nothing and
// there is no default.
func isAbsent(f reflect.Value) bool {
	switch f.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return f.IsNil()
	case reflect.String:
		return f.Len() == 0
	}
	return false
}

func encodeValue(v reflect.Value) *yaml.Node {
	switch {
	case v.Kind() == reflect.Pointer:
		return encodeStruct(v.Elem(), reflect.Value{})
	case v.Kind() == reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			node.Content = append(node.Content, encodeValue(v.Index(i)))
		}
		return node
	case v.Kind() == reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, name := range sortedKeys(v) {
			node.Content = append(node.Content, scalarNode(name.String()), encodeValue(v.MapIndex(name)))
		}
		return node
	case isBlock(v.Type()):
		return encodeStruct(v, reflect.Value{})
	case v.Kind() == reflect.Bool, v.Type() == reflect.TypeFor[int]():
		return &yaml.Node{Kind: yaml.ScalarNode, Value: scalarText(v)}
	}
	return scalarNode(scalarText(v))
}

// scalarNode is text in quotes where it would be read as something else.
func scalarNode(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	plain := text != "" && (isAlphanumeric(text[0]) || text[0] == '/') && text[len(text)-1] != ':'
	for i := range len(text) {
		c := text[i]
		plain = plain && (isAlphanumeric(c) || c == '.' || c == '/' || c == ':' || c == '_' || c == '-' || c == '*')
	}
	if !plain || node.ShortTag() != "!!str" {
		node.Tag, node.Style = "!!str", yaml.DoubleQuotedStyle
	}
	return node
}

// scalarText writes a single value as it stands in the file.
func scalarText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case Size:
		return x.String()
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			panic("config: a value that was read cannot be written: " + err.Error())
		}
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// sortedKeys returns the keys of a map from strings or numbers in order.
func sortedKeys(v reflect.Value) []reflect.Value {
	byText := make(map[string]reflect.Value)
	for _, name := range v.MapKeys() {
		byText[fmt.Sprint(name.Interface())] = name
	}
	sorted := make([]reflect.Value, 0, len(byText))
	for _, text := range slices.Sorted(maps.Keys(byText)) {
		sorted = append(sorted, byText[text])
	}
	return sorted
}
