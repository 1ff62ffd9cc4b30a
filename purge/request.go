package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"
)

// request is the JSON form of a purge. Cloudflare's names files and
// purge_everything stand for urls and everything.
type request struct {
	URLs, Files, Prefixes, Tags, Hosts []string
	Groups                             []requestGroup
	Everything, PurgeEverything, Soft  bool
}

type requestGroup struct{ Origin, Group string }

// ParseRequest reads a purge in JSON:
//
//	{"urls": [], "prefixes": [], "tags": [], "groups": [{"origin": "", "group": ""}],
//	 "hosts": [], "everything": false, "soft": false}
//
// It is strict: an unknown name, one that is given twice, one in another case,
// anything behind the object, a request that names nothing, and any entry that
// is not what it should be, are errors, and then nothing of it counts. Errors are
// worded for whoever made the request.
func ParseRequest(body []byte) (*Purge, error) {
	var r request
	err := decodeObject(body, map[string]any{
		"urls": &r.URLs, "files": &r.Files, "prefixes": &r.Prefixes, "tags": &r.Tags, "hosts": &r.Hosts,
		"groups": &groupList{&r.Groups}, "everything": &r.Everything, "purge_everything": &r.PurgeEverything, "soft": &r.Soft,
	})
	if err != nil {
		return nil, err
	}
	n := len(r.URLs) + len(r.Files) + len(r.Prefixes) + len(r.Tags) + len(r.Hosts) + len(r.Groups)
	if r.Everything || r.PurgeEverything {
		n++
	}
	if n > MaxSelectors {
		return nil, fmt.Errorf("%d entries: at most %d in one request", n, MaxSelectors)
	}
	p := &Purge{Mode: Hard}
	if r.Soft {
		p.Mode = Soft
	}
	if r.Everything || r.PurgeEverything {
		p.Selectors = append(p.Selectors, All())
	}
	if err := r.collect(p); err != nil {
		return nil, err
	}
	if len(p.Selectors) == 0 {
		return nil, errors.New("the request names nothing to purge")
	}
	return p, nil
}

// collect adds what the lists select.
func (r *request) collect(p *Purge) error {
	for _, list := range []struct {
		name    string
		entries []string
		by      func(string) (Selector, error)
	}{{"urls", r.URLs, ByURL}, {"files", r.Files, ByURL}, {"tags", r.Tags, ByTag}, {"hosts", r.Hosts, ByHost}} {
		for i, text := range list.entries {
			s, err := list.by(text)
			if err != nil {
				return fmt.Errorf("%s[%d]: %w", list.name, i, err)
			}
			p.Selectors = append(p.Selectors, s)
		}
	}
	for i, text := range r.Prefixes {
		s, err := ByPrefix(text)
		if err != nil {
			return fmt.Errorf("prefixes[%d]: %w", i, err)
		}
		p.Selectors = append(p.Selectors, s...)
	}
	for i, g := range r.Groups {
		s, err := ByGroup(g.Origin, g.Group)
		if err != nil {
			return fmt.Errorf("groups[%d]: %w", i, err)
		}
		p.Selectors = append(p.Selectors, s)
	}
	return nil
}

// groupList decodes groups as strictly as the rest.
type groupList struct{ list *[]requestGroup }

// UnmarshalJSON reads a list of groups.
func (g *groupList) UnmarshalJSON(text []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	for _, one := range raw {
		var v requestGroup
		if err := decodeObject(one, map[string]any{"origin": &v.Origin, "group": &v.Group}); err != nil {
			return err
		}
		*g.list = append(*g.list, v)
	}
	return nil
}

// DecodeKeys reads a JSON array of keys under one name, and nothing besides:
// {"surrogate_keys": ["a", "b"]}.
func DecodeKeys(body []byte, name string) ([]string, error) {
	var keys []string
	err := decodeObject(body, map[string]any{name: &keys})
	return keys, err
}

// decodeObject reads one JSON object whose names are fields' keys, each once and
// spelt as there, into what fields point at.
func decodeObject(text []byte, fields map[string]any) error {
	// RFC 8259 section 8.1: JSON text "MUST be encoded using UTF-8". What the
	// decoder puts in place of anything else would be another tag.
	if !utf8.Valid(text) {
		return errors.New("not JSON: not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); errors.Is(err, io.EOF) {
		return errors.New("not JSON: there is no content")
	} else if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	} else if t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		name, _ := t.(string)
		field, known := fields[name]
		switch {
		case !known:
			return fmt.Errorf("the field %s is unknown", clip(name))
		case seen[name]:
			return fmt.Errorf("the field %s is there twice", clip(name))
		}
		seen[name] = true
		if err := d.Decode(field); err != nil {
			return fmt.Errorf("the field %s: %w", clip(name), inWords(err))
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON object")
	}
	return nil
}

// inWords is err without Go's names for types, which mean nothing to whoever wrote the
// JSON: a value of a kind that does not belong where it stands.
func inWords(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.Slice:
		want = "a list"
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	}
	return fmt.Errorf("there is a JSON %s where %s belongs", wrong.Value, want)
}
