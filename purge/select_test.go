package purge

import (
	"strings"
	"testing"

	"edge/cache/storage"
)

// TestSelectors: what is written is put into the key's form, or refused.
func TestSelectors(t *testing.T) {
	url := func(s string) (string, error) { x, err := ByURL(s); return x.String(), err }
	prefix := func(s string) (string, error) {
		list, err := ByPrefix(s)
		var all []string
		for _, x := range list {
			all = append(all, x.String())
		}
		return strings.Join(all, " "), err
	}
	host := func(s string) (string, error) { x, err := ByHost(s); return x.String(), err }
	tag := func(s string) (string, error) { x, err := ByTag(s); return x.String(), err }
	group := func(s string) (string, error) {
		origin, name, _ := strings.Cut(s, "|")
		x, err := ByGroup(origin, name)
		return x.String(), err
	}
	for _, c := range []struct {
		by       func(string) (string, error)
		in, want string // want "": refused
	}{
		{url, "https://Example.COM:443/A?b", "https://example.com/A?b"},
		{url, "HTTP://example.com", "http://example.com/"},
		{url, "http://example.com:8080?q", "http://example.com:8080/?q"},
		{url, "http://example.com:443/", "http://example.com:443/"},
		{url, "http://example.com:/x", "http://example.com/x"},
		{url, "https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/"},
		{url, "https://example.com/%2F//a/../b", "https://example.com/%2F//a/../b"},
		{url, "/relative", ""},
		{url, "example.com/x", ""},
		{url, "ftp://example.com/x", ""},
		{url, "https:///x", ""},
		{url, "https://user@example.com/", ""},
		{url, "https://example.com:0/", ""},
		{url, "https://example.com:65536/", ""},
		{url, "https://example.com:+80/", ""},
		{url, "https://exa mple.com/", ""},
		{url, "https://example.com/a b", ""},
		{url, "https://example.com/\x00", ""},
		{url, "https://example.com/ä", ""},
		{url, "https://example.com/#top", ""},
		{url, "https://[::1/", ""},
		{url, "", ""},
		{url, "https://e/" + strings.Repeat("x", MaxURL), ""},
		{prefix, "https://example.com/a/", "https://example.com/a/"},
		{prefix, "example.com/a", "http://example.com/a https://example.com/a"},
		{prefix, "example.com:80/", "http://example.com/ https://example.com:80/"},
		{prefix, "example.com", ""},
		{prefix, "/a/", ""},
		{prefix, "", ""},
		{prefix, "example.com/a?b", ""},
		{prefix, "gopher://example.com/", ""},
		{host, "Example.com", "example.com"},
		{host, "example.com:8080", "example.com:8080"},
		{host, "https://example.com", ""},
		{host, "example.com/", ""},
		{host, "", ""},
		{tag, " Product-7 ", "product-7"},
		{tag, strings.Repeat("x", MaxTag), strings.Repeat("x", MaxTag)},
		{tag, strings.Repeat("x", MaxTag+1), ""},
		{tag, " \t", ""},
		{tag, "a\nb", ""},
		{group, "https://Example.com|News", "https://example.com News"},
		{group, "https://example.com/|n", "https://example.com n"},
		{group, "https://example.com/x|n", ""},
		{group, "example.com|n", ""},
		{group, "https://example.com|", ""},
		{group, "https://example.com|ä", ""},
		{group, "https://example.com|" + strings.Repeat("x", MaxTag+1), ""},
	} {
		got, err := c.by(c.in)
		if err == nil && got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%.60q: %.60q, %v; want %.60q", c.in, got, err, c.want)
		}
	}
}

// TestWhatSelects: each kind selects what it should, and nothing else.
func TestWhatSelects(t *testing.T) {
	x := func(scheme, authority, target string) thing {
		return thing{scheme: scheme, authority: authority, target: target, tags: []string{"red", "blue"}, groups: []string{"News"}}
	}
	for _, c := range []struct {
		s    Selector
		x    thing
		want bool
	}{
		{must(ByURL("https://a/b?c")), x("https", "a", "/b?c"), true},
		{must(ByURL("https://a/b?c")), x("http", "a", "/b?c"), false},
		{must(ByURL("https://a/b?c")), x("https", "a:1", "/b?c"), false},
		{must(ByURL("https://a/b?c")), x("https", "a", "/b"), false},
		{must(ByURL("https://a/b")), x("https", "a", "/b/"), false},
		{mustPrefix("https://a/b"), x("https", "a", "/b"), true},
		{mustPrefix("https://a/b"), x("https", "a", "/b?q/r"), true},
		{mustPrefix("https://a/b"), x("https", "a", "/b/c"), true},
		{mustPrefix("https://a/b"), x("https", "a", "/bc"), false},
		{mustPrefix("https://a/b/"), x("https", "a", "/b/"), true},
		{mustPrefix("https://a/b/"), x("https", "a", "/b/c/d"), true},
		{mustPrefix("https://a/b/"), x("https", "a", "/b"), false},
		{mustPrefix("https://a/b/"), x("https", "a", "/b?/"), false},
		{mustPrefix("https://a/b//"), x("https", "a", "/b/c"), false},
		{mustPrefix("https://a/b//"), x("https", "a", "/b//c"), true},
		{mustPrefix("https://a/"), x("https", "a", "/"), true},
		{mustPrefix("https://a/"), x("https", "a", "/x/y"), true},
		{mustPrefix("https://a/"), x("https", "a", "*"), false},
		{mustPrefix("https://a/b/c"), x("https", "a", "/b"), false},
		{must(ByTag("RED")), x("https", "a", "/"), true},
		{must(ByTag("re")), x("https", "a", "/"), false},
		{must(ByTag("news")), x("https", "a", "/"), false},
		{must(ByGroup("https://a", "News")), x("https", "a", "/"), true},
		{must(ByGroup("https://a", "news")), x("https", "a", "/"), false},
		{must(ByGroup("https://b", "News")), x("https", "a", "/"), false},
		{must(ByGroup("http://a", "News")), x("https", "a", "/"), false},
		{must(ByHost("a")), x("https", "a", "/"), true},
		{must(ByHost("a")), x("http", "a", "/x"), true},
		{must(ByHost("a")), x("https", "a:8080", "/"), false},
		{must(ByHost("a:8080")), x("https", "a:8080", "/"), true},
		{All(), x("https", "a", "/"), true},
		{All(), thing{}, true},
	} {
		for mode, verdict := range map[Mode]storage.Verdict{Hard: storage.Removed, Soft: storage.Stale, Invalid: storage.Invalid} {
			l := open(t, Options{})
			mustPurge(t, l, mode, must(ByURL("https://other/")), c.s)
			want := storage.Live
			if c.want {
				want = verdict
			}
			if got := l.Judge(c.x.entry(), 0); got != want {
				t.Errorf("%v %v of %s://%s%s: %v, want %v", mode, c.s, c.x.scheme, c.x.authority, c.x.target, got, want)
			}
			if got := l.Judge(c.x.entry(), l.Sequence()); got != storage.Live {
				t.Errorf("%v: a purge selects what was stored after it", c.s)
			}
		}
	}
}

// TestTheWorstCounts: of several purges, the one that leaves least.
func TestTheWorstCounts(t *testing.T) {
	l := open(t, Options{})
	x := thing{scheme: "https", authority: "a", target: "/", tags: []string{"t"}}
	mustPurge(t, l, Hard, must(ByTag("t")))
	mustPurge(t, l, Invalid, must(ByHost("a")))
	mustPurge(t, l, Soft, All())
	for since, want := range []storage.Verdict{storage.Removed, storage.Invalid, storage.Stale, storage.Live} {
		if got := l.Judge(x.entry(), uint64(since)); got != want {
			t.Errorf("since %d: %v, want %v", since, got, want)
		}
	}
}

// TestJudgeAllocatesNothing, whatever there is to ask.
func TestJudgeAllocatesNothing(t *testing.T) {
	l := open(t, Options{})
	for _, s := range []Selector{must(ByURL("https://a/x/y")), mustPrefix("https://a/x/"), must(ByTag("b")), must(ByGroup("https://a", "G")), must(ByHost("c")), All()} {
		mustPurge(t, l, Soft, s)
	}
	var e storage.Entry = thing{scheme: "https", authority: "a", target: "/x/y/z?q", tags: []string{"a", "b"}, groups: []string{"G", "H"}}.entry()
	if n := testing.AllocsPerRun(100, func() { l.Judge(e, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
