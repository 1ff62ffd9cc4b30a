package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"edge/cache/storage"
	"edge/message"
)

// model is the simplest thing that behaves as a roomy store must.
type model struct {
	live    map[int][]*modelEntry
	writers []*modelWriter
	held    []heldEntry
	order   int
	date    int64
}

type modelEntry struct {
	nominated   string
	body        []byte
	date        int64
	order       int
	invalidated bool
	soft        bool // soft-purged
	seq         uint64
}

type modelWriter struct {
	w      storage.Writer
	it     item
	done   int // bytes written
	doomed bool
}

type heldEntry struct {
	e    storage.Entry
	body []byte
}

// machine runs random operations on a store and a model side by side.
type machine struct {
	st storage.Store
	l  *Ledger
	model
}

const modelKeys = 3

// testModel: random operations, and after each the store finds what the model
// does.
func testModel(t *testing.T, s suite) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{l: &Ledger{}, model: model{live: map[int][]*modelEntry{}}}
		m.st = s.open(t, Options{Size: size, MaxObject: maxObject, Window: window, ChunkSize: chunkSize,
			Ledger: m.l, Clock: func() message.Instant { return 0 }})
		defer func() {
			for _, w := range m.writers {
				w.w.Abort(errors.New("end"))
			}
			for _, h := range m.held {
				h.e.Release()
			}
			if !rt.Failed() { // what a failure left unreleased is no news
				checkClosed(t, m.st)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"begin":      m.begin,
			"write":      m.write,
			"end":        m.end,
			"invalidate": m.invalidate,
			"purge":      m.purge,
			"freshen":    m.freshen,
			"remove":     m.remove,
			"hold":       m.hold,
			"letGo":      m.letGo,
			"":           m.check,
		})
	})
}

func drawKey(rt *rapid.T) int { return rapid.IntRange(0, modelKeys-1).Draw(rt, "key") }

func (m *machine) begin(rt *rapid.T) {
	m.date += int64(rapid.IntRange(-1, 2).Draw(rt, "later"))
	it := item{
		key: drawKey(rt), seq: m.l.Sequence(), date: m.date, unknown: rapid.Bool().Draw(rt, "unknown"),
		nominated: rapid.SampledFrom([]string{"", "a: 1\r\n", "a: 2\r\n"}).Draw(rt, "nominated"),
		body:      content(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(0, 3*chunkSize).Draw(rt, "length")),
	}
	w, err := m.st.Begin(it.proposal())
	if err != nil {
		rt.Fatalf("begin: %v", err)
	}
	m.writers = append(m.writers, &modelWriter{w: w, it: it})
}

// writer draws one of the writers, or skips.
func (m *machine) writer(rt *rapid.T) int {
	if len(m.writers) == 0 {
		rt.Skip("no writer")
	}
	return rapid.IntRange(0, len(m.writers)-1).Draw(rt, "writer")
}

func (m *machine) write(rt *rapid.T) {
	w := m.writers[m.writer(rt)]
	n := rapid.IntRange(0, len(w.it.body)-w.done).Draw(rt, "bytes")
	write(rt, w.w, w.it.body[w.done:w.done+n])
	w.done += n
}

// end commits a writer, or aborts it.
func (m *machine) end(rt *rapid.T) {
	i := m.writer(rt)
	w := m.writers[i]
	m.writers = slices.Delete(m.writers, i, i+1)
	if rapid.IntRange(0, 4).Draw(rt, "abort") == 0 {
		w.w.Abort(errors.New("model"))
		return
	}
	write(rt, w.w, w.it.body[w.done:])
	err := w.w.Commit(nil)
	if w.doomed != errors.Is(err, storage.ErrDoomed) || !w.doomed && err != nil {
		rt.Fatalf("commit: %v; doomed %v", err, w.doomed)
	}
	if err != nil {
		return
	}
	m.live[w.it.key] = slices.DeleteFunc(m.live[w.it.key], func(e *modelEntry) bool { return e.nominated == w.it.nominated })
	m.order++
	m.live[w.it.key] = append(m.live[w.it.key], &modelEntry{
		nominated: w.it.nominated, body: w.it.body, date: w.it.date, order: m.order, seq: w.it.seq,
	})
}

func (m *machine) invalidate(rt *rapid.T) {
	key := drawKey(rt)
	if n := m.st.Invalidate(Key(key)); n != len(m.live[key]) {
		rt.Fatalf("%d invalidated, want %d", n, len(m.live[key]))
	}
	for _, e := range m.live[key] {
		e.invalidated = true
	}
	m.doom(key)
}

func (m *machine) doom(key int) {
	for _, w := range m.writers {
		w.doomed = w.doomed || w.it.key == key
	}
}

func (m *machine) purge(rt *rapid.T) {
	key, soft := drawKey(rt), rapid.Bool().Draw(rt, "soft")
	m.l.Purge(Key(key), soft)
	m.doom(key)
	for _, e := range m.live[key] {
		e.soft = true
	}
	if !soft {
		delete(m.live, key)
	}
}

// find draws a live entry of a key, retained, with its model.
func (m *machine) find(rt *rapid.T) (storage.Entry, int, *modelEntry) {
	key := drawKey(rt)
	if len(m.live[key]) == 0 {
		rt.Skip("nothing stored")
	}
	e := rapid.SampledFrom(m.live[key]).Draw(rt, "entry")
	list := lookup(m.st, key)
	for i, x := range list {
		if string(x.Stored().Nominated) == e.nominated {
			release(slices.Delete(slices.Clone(list), i, i+1))
			return x, key, e
		}
	}
	rt.Fatalf("variant %q of key %d is not found", e.nominated, key)
	return nil, 0, nil
}

func (m *machine) freshen(rt *rapid.T) {
	x, _, e := m.find(rt)
	defer x.Release()
	m.date++
	head := *x.Stored()
	head.Terms.Flags &^= message.TermInvalidated | message.TermSoftPurged
	head.Terms.Date = message.Instant(m.date * message.Second)
	head.ResponseTime = head.Terms.Date
	if err := m.st.Freshen(x, &head, m.l.Sequence()); err != nil {
		rt.Fatalf("freshen: %v", err)
	}
	e.invalidated, e.soft, e.date, e.seq = false, false, m.date, m.l.Sequence()
}

func (m *machine) remove(rt *rapid.T) {
	x, key, e := m.find(rt)
	m.st.Remove(x)
	x.Release()
	m.live[key] = slices.DeleteFunc(m.live[key], func(o *modelEntry) bool { return o == e })
}

func (m *machine) hold(rt *rapid.T) {
	x, _, e := m.find(rt)
	m.held = append(m.held, heldEntry{x, e.body})
}

func (m *machine) letGo(rt *rapid.T) {
	if len(m.held) == 0 {
		rt.Skip("nothing held")
	}
	h := m.held[0]
	m.held = m.held[1:]
	wantBody(rt, h.e, h.body)
	h.e.Release()
}

// check compares everything that is found.
func (m *machine) check(rt *rapid.T) {
	for key := range modelKeys {
		want := slices.Clone(m.live[key])
		slices.SortFunc(want, func(a, b *modelEntry) int {
			if a.date != b.date {
				return int(b.date - a.date)
			}
			return b.order - a.order
		})
		list := lookup(m.st, key)
		describe := func() (s string) {
			for _, e := range list {
				s += fmt.Sprintf("%q %d; ", e.Stored().Nominated, e.Stored().Terms.Date/1e9)
			}
			return s
		}
		if len(list) != len(want) {
			rt.Fatalf("key %d: found %s, want %d", key, describe(), len(want))
		}
		for i, e := range list {
			w := want[i]
			body, err := read(e, 0, -1)
			switch {
			case string(e.Stored().Nominated) != w.nominated:
				rt.Fatalf("key %d: order %s, want %q at %d", key, describe(), w.nominated, i)
			case err != nil || !bytes.Equal(body, w.body):
				rt.Fatalf("key %d %q: wrong body, %v", key, w.nominated, err)
			case e.Stored().Terms.Flags.Has(message.TermInvalidated) != w.invalidated:
				rt.Fatalf("key %d %q: invalidated is not %v", key, w.nominated, w.invalidated)
			case e.Stored().Terms.Flags.Has(message.TermSoftPurged) != w.soft:
				rt.Fatalf("key %d %q: soft-purged is not %v", key, w.nominated, w.soft)
			case e.Sequence() != w.seq:
				rt.Fatalf("key %d %q: sequence %d, want %d", key, w.nominated, e.Sequence(), w.seq)
			}
		}
		release(list)
	}
	if s := m.st.Stats(); s.Bytes > s.Budget {
		rt.Fatalf("%d bytes of %d", s.Bytes, s.Budget)
	}
}
