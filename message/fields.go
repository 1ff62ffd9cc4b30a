package message

import "bytes"

// Field is one field line. ID is FieldOther for names this package does not
// know. Value has no leading or trailing white space.
type Field struct {
	ID    FieldID
	Name  []byte // as received; compare with ID, or EqualFold
	Value []byte
}

// Fields is a list of field lines in the order received, with a set of the
// known names present, so that asking for an absent field costs one test.
//
// The zero Fields is empty and ready. Not safe for concurrent use.
type Fields struct {
	list []Field
	seen [(int(numFieldIDs) + 63) / 64]uint64
}

// Reset empties f, keeping capacity.
func (f *Fields) Reset() {
	f.list = f.list[:0]
	clear(f.seen[:])
}

// Add appends a field line, looking its name up. It keeps the slices.
func (f *Fields) Add(name, value []byte) {
	f.AddID(LookupFieldID(name), name, value)
}

// AddID appends a field line whose ID the caller knows already.
func (f *Fields) AddID(id FieldID, name, value []byte) {
	f.seen[id>>6] |= 1 << (id & 63)
	f.list = append(f.list, Field{ID: id, Name: name, Value: value})
}

// AddKnown appends a field line of a known name, spelt canonically.
func (f *Fields) AddKnown(id FieldID, value []byte) { f.AddID(id, fieldNames[id].bytes, value) }

// AddString is Add for constants and tests; it copies both strings.
func (f *Fields) AddString(name, value string) { f.Add([]byte(name), []byte(value)) }

// Len returns the number of field lines.
func (f *Fields) Len() int { return len(f.list) }

// All returns the field lines, in order. The slice is f's own: read only.
func (f *Fields) All() []Field { return f.list }

// Has reports whether a line of a known name is present.
func (f *Fields) Has(id FieldID) bool { return f.seen[id>>6]&(1<<(id&63)) != 0 }

// Get returns the value of the first line of a known name, and whether there
// is one.
func (f *Fields) Get(id FieldID) ([]byte, bool) {
	if !f.Has(id) {
		return nil, false
	}
	for i := range f.list {
		if f.list[i].ID == id {
			return f.list[i].Value, true
		}
	}
	return nil, false
}

// Value is Get without the report: nil where the field is absent.
func (f *Fields) Value(id FieldID) []byte {
	v, _ := f.Get(id)
	return v
}

// Count returns the number of lines of a known name.
func (f *Fields) Count(id FieldID) int {
	if !f.Has(id) {
		return 0
	}
	n := 0
	for i := range f.list {
		if f.list[i].ID == id {
			n++
		}
	}
	return n
}

// Next returns the index of the first line of a known name at or after from,
// or -1. It walks all lines of a name without allocating:
//
//	for i := f.Next(id, 0); i >= 0; i = f.Next(id, i+1) { f.All()[i].Value ... }
func (f *Fields) Next(id FieldID, from int) int {
	if !f.Has(id) {
		return -1
	}
	for i := from; i < len(f.list); i++ {
		if f.list[i].ID == id {
			return i
		}
	}
	return -1
}

// NextName is Next for any name, known or not, compared without case.
func (f *Fields) NextName(name []byte, from int) int {
	if id := LookupFieldID(name); id != FieldOther {
		return f.Next(id, from)
	}
	for i := from; i < len(f.list); i++ {
		if f.list[i].ID == FieldOther && EqualFold(f.list[i].Name, name) {
			return i
		}
	}
	return -1
}

// Delete removes every line of a known name.
func (f *Fields) Delete(id FieldID) {
	if !f.Has(id) {
		return
	}
	f.DeleteFunc(func(x *Field) bool { return x.ID == id })
}

// DeleteName removes every line of any name.
func (f *Fields) DeleteName(name []byte) {
	if id := LookupFieldID(name); id != FieldOther {
		f.Delete(id)
		return
	}
	f.DeleteFunc(func(x *Field) bool { return x.ID == FieldOther && EqualFold(x.Name, name) })
}

// DeleteFunc removes every line for which del says so, keeping the order.
func (f *Fields) DeleteFunc(del func(*Field) bool) {
	kept := f.list[:0]
	clear(f.seen[:])
	for i := range f.list {
		if !del(&f.list[i]) {
			kept = append(kept, f.list[i])
			f.seen[f.list[i].ID>>6] |= 1 << (f.list[i].ID & 63)
		}
	}
	f.list = kept
}

// Set replaces every line of a known name by one, at the end.
func (f *Fields) Set(id FieldID, value []byte) {
	f.Delete(id)
	f.AddKnown(id, value)
}

// CopyFrom makes f hold the same lines as g, sharing their bytes.
func (f *Fields) CopyFrom(g *Fields) {
	f.list = append(f.list[:0], g.list...)
	f.seen = g.seen
}

// AppendLines appends every line as "Name: value\r\n".
func (f *Fields) AppendLines(dst []byte) []byte {
	for i := range f.list {
		dst = AppendLine(dst, f.list[i].Name, f.list[i].Value)
	}
	return dst
}

// AppendLine appends one "Name: value\r\n".
func AppendLine(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// ParseLines adds to f the lines of a block that AppendLines wrote. It is for
// our own blocks: it checks nothing, and f's slices point into block.
func (f *Fields) ParseLines(block []byte) {
	for len(block) > 0 {
		var line []byte
		line, block = CutLine(block)
		name, value := SplitLine(line)
		f.Add(name, value)
	}
}

// CutLine cuts the first line, without its CRLF, off a block of our own.
func CutLine(block []byte) (line, rest []byte) {
	i := bytes.IndexByte(block, '\n')
	if i < 1 {
		return block, nil
	}
	return block[:i-1], block[i+1:]
}

// SplitLine splits a line of a block of our own into name and value.
func SplitLine(line []byte) (name, value []byte) {
	i := bytes.IndexByte(line, ':')
	if i < 0 || i+2 > len(line) {
		return line, nil
	}
	return line[:i], line[i+2:]
}

func (f *Fields) bytes() int {
	n := 0
	for i := range f.list {
		n += len(f.list[i].Name) + len(f.list[i].Value)
	}
	return n
}

func (f *Fields) clone(a *arena) Fields {
	c := Fields{list: make([]Field, len(f.list)), seen: f.seen}
	for i, x := range f.list {
		c.list[i] = Field{ID: x.ID, Name: a.copy(x.Name), Value: a.copy(x.Value)}
	}
	return c
}

// Clone returns a copy of f whose bytes live in one arena of their own.
func (f *Fields) Clone() Fields {
	a := newArena(f.bytes())
	return f.clone(&a)
}

// EqualFold compares two field names (tokens) without regard to ASCII case.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// EqualFoldString is EqualFold against a constant.
func EqualFoldString(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// arena is one allocation that several copies share.
type arena struct{ buf []byte }

func newArena(n int) arena { return arena{make([]byte, 0, n)} }

func (a *arena) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	n := len(a.buf)
	a.buf = append(a.buf, b...)
	return a.buf[n:len(a.buf):len(a.buf)]
}
