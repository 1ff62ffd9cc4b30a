package disk

import (
	"reflect"
	"testing"

	"edge/message"
)

// sample is a record with everything in it.
func sample() (record, *front) {
	f := &front{
		sequence: 7, checked: 9, total: 300,
		stored: message.Stored{
			Status: 206, RequestTime: 1, ResponseTime: 2, Length: 300, Head: []byte("A: b\r\n"), Reason: []byte{}, Nominated: []byte("n: 1\r\n"),
			Terms: message.Terms{CorrectedInitialAge: 3, FreshnessLifetime: 4, StaleWhileRevalidate: 5, StaleIfError: 6, StaleDisconnected: 7,
				Date: -8, LastModified: 9, ETag: []byte(`"e"`), Flags: message.TermPartial},
		},
		extents:  []extent{{at: 0, length: 100, sum: 5, seg: 3, off: 64, take: 100}, {at: 200, length: 50, sum: 6, seg: 5, off: 8, skip: 1, take: 49}},
		trailers: []byte("T: x\r\n"), names: []byte{0, 0, 0, 0},
	}
	r := record{kind: kindHead, flags: flagForeign, seg: 5, off: 16, variant: 4, order: 11, writtenAt: 12, body: 3, bodySum: 13}
	r.key[3] = 9
	return r, f
}

// TestRecord: what is written is what is read.
func TestRecord(t *testing.T) {
	r, f := sample()
	mem := appendFront(make([]byte, headerSize), f)
	r.front = uint32(len(mem) - headerSize)
	r.put(mem)
	got, err := parseHeader(mem, 5, 16)
	if err != nil || got != r || !verify(mem, &got) {
		t.Fatalf("%+v, %v", got, err)
	}
	g, err := parseFront(mem[headerSize:], &got)
	if err != nil || !reflect.DeepEqual(f, g) {
		t.Fatalf("%v:\n%+v\n%+v", err, f, g)
	}
	if _, err := parseHeader(mem, 5, 24); err == nil {
		t.Error("a record that says it lies elsewhere was taken")
	}
	mem[6]++
	if _, err := parseHeader(mem, 5, 16); err == nil {
		t.Error("a record of another version was taken")
	}
}

// TestRecordFlips: no single flipped bit goes unnoticed.
func TestRecordFlips(t *testing.T) {
	r, f := sample()
	mem := appendFront(make([]byte, headerSize), f)
	r.front = uint32(len(mem) - headerSize)
	r.put(mem)
	for i := range mem {
		for bit := range 8 {
			mem[i] ^= 1 << bit
			if g, err := parseHeader(mem, 5, 16); err == nil && int(g.front) <= len(mem)-headerSize && verify(mem, &g) {
				t.Fatalf("bit %d of byte %d flipped, and nobody noticed", bit, i)
			}
			mem[i] ^= 1 << bit
		}
	}
}

// FuzzFront: whatever bytes a front has, reading it does not panic.
func FuzzFront(f *testing.F) {
	r, fr := sample()
	f.Add(appendFront(nil, fr))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := parseFront(b, &r); err == nil {
			for i := range g.extents {
				if x := &g.extents[i]; x.end() > g.total || x.start() < 0 {
					t.Fatalf("extent %+v of %d", *x, g.total)
				}
			}
		}
	})
}

// TestNoteOfALongBody: what a response takes is no less for being more than a row can
// say.
func TestNoteOfALongBody(t *testing.T) {
	const n = 40 << 10
	f := front{total: n * maxBody, extents: make([]extent, n)}
	for i := range f.extents {
		f.extents[i] = extent{at: int64(i) * maxBody, length: maxBody, seg: uint32(i/200) + 1, off: uint32(i%200+1) * maxBody, take: maxBody}
	}
	r := record{kind: kindHead}
	mem := appendFront(nil, &f)
	r.front = uint32(len(mem))
	if got := noteOf(&r, mem); int64(got.size)*sizeUnit < 32<<30-sizeUnit {
		t.Errorf("%d bytes of %d", int64(got.size)*sizeUnit, f.total)
	}
}
