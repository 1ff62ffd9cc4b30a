package disk

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/cache/storage"
	"edge/cache/storage/vfs"
	"edge/message"
)

// byTag is a ledger with one purge at most, number 1: of a tag.
type byTag struct {
	tag string
	seq atomic.Uint64 // 1 once it is in force
}

func (l *byTag) selectors() []storage.Selector {
	return []storage.Selector{{Kind: storage.ByTag, Name: l.tag}}
}

// Sequence returns the newest purge's number.
func (l *byTag) Sequence() uint64 { return l.seq.Load() }

// Judge says what the purge does to e.
func (l *byTag) Judge(e storage.Entry, since uint64) storage.Verdict {
	if since < l.Sequence() && e.Names().Selected(l.selectors()) {
		return storage.Removed
	}
	return storage.Live
}

// taggedPart stores a part of a representation of three.
func taggedPart(t *testing.T, st *Store, at int64, tags ...string) {
	t.Helper()
	w, err := st.Begin(&storage.Proposal{Key: storage.URLKey("https", "a.example", "/film"), Scheme: "https", Authority: []byte("a.example"), Target: []byte("/film"),
		Tags: tags, Stored: &message.Stored{Status: 200, Length: 3, Head: []byte("ETag: \"1\"\r\n"), Terms: message.Terms{FreshnessLifetime: 1 << 60, ETag: []byte(`"1"`)}},
		Part: true, Offset: at, Total: 3})
	if err == nil {
		err = errors.Join(w.Write(t.Context(), []byte{'a' + byte(at)}), w.Commit(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNamesOfPartsOutliveRestart: what is joined from parts is found and purged by the
// names of each after a start, whether a checkpoint has them, or the records, or the
// process was killed; also where a purge came before that and took nothing yet; and it
// is joined with what comes then.
func TestNamesOfPartsOutliveRestart(t *testing.T) {
	for _, how := range []string{"checkpoint", "records", "killed", "purged and killed"} {
		for tag, taken := range map[string]int{"x": 1, "y": 1, "z": 1, "other": 0} {
			t.Run(how+" "+tag, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { restartFilm(t, how, tag, taken) })
			})
		}
	}
}

func restartFilm(t *testing.T, how, tag string, taken int) {
	mem, l := vfs.NewMem(), &byTag{tag: tag}
	st := openJudged(t, mem, l)
	taggedPart(t, st, 0, "x")
	taggedPart(t, st, 2, "y")
	time.Sleep(10 * time.Second) // it is written
	switch how {
	case "killed":
		mem = mem.Killed()
	case "purged and killed":
		l.seq.Store(1)
		mem = mem.Killed()
	default:
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := mem.List("/disk"); how == "records" {
		for _, name := range names {
			if strings.HasSuffix(name, ".idx") {
				_ = mem.Remove("/disk/" + name)
			}
		}
	}
	st = openJudged(t, mem, l)
	if how == "purged and killed" {
		wantFilm(t, st, tag, "", "x", "y")
		return
	}
	taggedPart(t, st, 1, "z")
	wantFilm(t, st, tag, "abc", "x", "y", "z")
	l.seq.Store(1)
	got := 0
	st.Take([]storage.Taking{{Sequence: 1, Select: l.selectors(), Verdict: storage.Removed, Count: func(n int) { got += n }}})
	if got != taken {
		t.Errorf("the purge took %d, want %d", got, taken)
	}
	wantFilm(t, st, tag, "abc", "x", "y", "z")
}

// wantFilm checks what is found: nothing where a purge of a tag that is among the names is in
// force.
func wantFilm(t *testing.T, st *Store, tag, body string, tags ...string) {
	t.Helper()
	list := st.Lookup(nil, storage.URLKey("https", "a.example", "/film"))
	if gone := st.o.Ledger.Sequence() > 0 && slices.Contains(tags, tag); gone != (len(list) == 0) {
		t.Errorf("%d are found, of tags %q, after a purge of %q", len(list), tags, tag)
	}
	for _, e := range list {
		got := e.Meta().Tags
		if slices.Sort(got); !slices.Equal(got, tags) {
			t.Errorf("tags %q, want %q", got, tags)
		}
		if body != "" {
			if got, err := readAll(e); err != nil || string(got) != body {
				t.Errorf("read %q, %v", got, err)
			}
		}
		e.Release()
	}
}
