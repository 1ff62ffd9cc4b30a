package storage

import (
	"bytes"
	"context"
	"testing"

	"edge/message"
)

// open returns a memory tier that closes with the test.
func open(t testing.TB, o MemoryOptions) *Memory {
	t.Helper()
	if o.Size == 0 {
		o.Size = 8 << 20
	}
	m, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// keyOf spreads n over keys as a hash would.
func keyOf(n int) (k Key) {
	x := uint64(n)*0x9e3779b97f4a7c15 + 1
	for i := range k {
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		k[i] = byte(x >> 56)
	}
	return k
}

func proposal(n int, total int64) *Proposal {
	return &Proposal{
		Key: keyOf(n),
		Stored: &message.Stored{
			Status: 200, Length: total,
			Head:  []byte("Content-Type: text/plain\r\nETag: \"abc\"\r\nCache-Control: max-age=60\r\n"),
			Terms: message.Terms{FreshnessLifetime: 60 * message.Second, ETag: []byte(`"abc"`)},
		},
		Scheme: "https", Authority: []byte("example.com"), Target: []byte("/path/to/it"), Total: total,
	}
}

// put stores body under key n.
func put(t testing.TB, m *Memory, n int, body []byte) error {
	t.Helper()
	p := proposal(n, int64(len(body)))
	p.Stored.ResponseTime = m.clock()
	w, err := m.Begin(p)
	if err != nil {
		return err
	}
	if err := w.Write(context.Background(), body); err != nil {
		return err
	}
	return w.Commit(nil)
}

// has reports whether key n is found, without counting as a reader.
func has(m *Memory, n int) bool {
	list := m.Lookup(nil, keyOf(n))
	for _, e := range list {
		e.Release()
	}
	return len(list) > 0
}

func TestMemoryFindsWhatItStored(t *testing.T) {
	m := open(t, MemoryOptions{})
	body := bytes.Repeat([]byte("0123456789"), 100)
	if err := put(t, m, 1, body); err != nil {
		t.Fatal(err)
	}
	list := m.Lookup(nil, keyOf(1))
	if len(list) != 1 || !bytes.Equal(list[0].Bytes(), body) {
		t.Fatalf("found %d entries", len(list))
	}
	if m := list[0].Meta(); m.Authority != "example.com" || m.Tier != "memory" || m.Hits != 1 {
		t.Fatalf("meta %+v", m)
	}
	list[0].Release()
}

func TestLookupDoesNotAllocate(t *testing.T) {
	if instrumented {
		t.Log("the race detector allocates; measured in plain builds")
		return
	}
	m := open(t, MemoryOptions{})
	if err := put(t, m, 1, make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
	dst, key := make([]Entry, 0, 4), keyOf(1)
	n := testing.AllocsPerRun(10000, func() {
		dst = m.Lookup(dst[:0], key)
		if dst[0].Stored().Status != 200 || len(dst[0].Bytes()) != 1024 {
			t.Fatal("wrong entry")
		}
		dst[0].Release()
	})
	if n != 0 {
		t.Fatalf("%v allocations a lookup", n)
	}
}
