// Package sf reads structured field values (RFC 9651) in the few shapes that
// the cache asks for. It wraps github.com/dunglas/httpsfv, so that no other
// room depends on that library's types. It allocates and is meant for fields
// that are rare: targeted cache control (RFC 9213) and cache groups (RFC 9875).
package sf

import (
	"errors"
	"fmt"

	"github.com/dunglas/httpsfv"
)

// Kind is the type of a bare item, RFC 9651 section 3.3.
type Kind uint8

// The kinds.
const (
	// Other is every type that no field of ours uses: decimals, byte
	// sequences, dates and display strings.
	Other Kind = iota
	Boolean
	Integer
	String
	Token
	InnerList
)

// Item is a bare item, or an inner list of them, without parameters.
type Item struct {
	Kind    Kind
	Boolean bool   // Kind Boolean
	Integer int64  // Kind Integer: at most 15 digits
	Text    string // Kind String, unescaped, or Token
	List    []Item // Kind InnerList: its items, none of them a list
}

// Member is one member of a Dictionary.
type Member struct {
	Key  string // lower case, as the syntax demands
	Item Item
}

// ErrEmpty says that the field is there but holds nothing.
var ErrEmpty = errors.New("sf: empty field")

// ErrType says that a member has another type than the field is defined with.
var ErrType = errors.New("sf: member of the wrong type")

// ParseDictionary parses the lines of one field as a Dictionary (RFC 9651
// section 4.2.2) and returns its members, each key once, in order. Where a
// key is repeated the last value counts, as the RFC has it. Parameters are
// dropped. Any syntax error fails the field as a whole; ErrEmpty where there
// is no member.
func ParseDictionary(lines [][]byte) ([]Member, error) {
	dictionary, err := httpsfv.UnmarshalDictionary(toStrings(lines))
	if err != nil {
		return nil, fmt.Errorf("sf: dictionary: %w", err)
	}
	keys := dictionary.Names()
	if len(keys) == 0 {
		return nil, ErrEmpty
	}
	members := make([]Member, len(keys))
	for i, key := range keys {
		value, _ := dictionary.Get(key)
		members[i] = Member{Key: key, Item: itemOf(value)}
	}
	return members, nil
}

// ParseStrings parses the lines of one field as a List of Strings (RFC 9651
// section 4.2.1), the shape of Cache-Groups and Cache-Group-Invalidation (RFC
// 9875). Parameters are dropped. Any syntax error, or a member that is no
// String (ErrType), fails the field as a whole; an empty field is an empty
// list.
func ParseStrings(lines [][]byte) ([]string, error) {
	list, err := httpsfv.UnmarshalList(toStrings(lines))
	if err != nil {
		return nil, fmt.Errorf("sf: list: %w", err)
	}
	all := make([]string, len(list))
	for i, value := range list {
		item := itemOf(value)
		if item.Kind != String {
			return nil, fmt.Errorf("%w: member %d of a list of strings", ErrType, i)
		}
		all[i] = item.Text
	}
	return all, nil
}

func itemOf(m httpsfv.Member) Item {
	if inner, ok := m.(httpsfv.InnerList); ok {
		list := Item{Kind: InnerList}
		for _, item := range inner.Items {
			list.List = append(list.List, itemOf(item))
		}
		return list
	}
	item, ok := m.(httpsfv.Item)
	if !ok {
		return Item{}
	}
	switch v := item.Value.(type) {
	case bool:
		return Item{Kind: Boolean, Boolean: v}
	case int64:
		return Item{Kind: Integer, Integer: v}
	case string:
		return Item{Kind: String, Text: v}
	case httpsfv.Token:
		return Item{Kind: Token, Text: string(v)}
	}
	return Item{}
}

func toStrings(lines [][]byte) []string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = string(line)
	}
	return all
}
