package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"edge/cache/statemachine"
	"edge/message"
	"edge/proxy"
)

// record is an exchange with everything in it.
func record() *proxy.Record {
	q := &message.Request{Method: "GET", Scheme: "https", Authority: []byte("www.example.com"),
		Target: []byte("/a?b=c"), PathLen: 2, Version: message.HTTP11}
	q.Fields.AddString("User-Agent", "curl/8")
	q.Fields.AddString("Referer", "https://example.com/\"x\"")
	return &proxy.Record{
		Start:    message.Instant(time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC).UnixNano()),
		Duration: 1234567 * time.Nanosecond, Peer: netip.MustParseAddrPort("192.0.2.1:4711"), Req: q,
		Origin: "app", Endpoint: "192.0.2.9:80", Status: 200, Bytes: 42,
		Decision: &statemachine.Decision{Reason: statemachine.ReasonCollapsed, Forward: statemachine.ReasonURIMiss,
			NotStored: statemachine.ReasonNoStore, Collapsed: true, Stored: true, ForwardStatus: 200},
		Delivery: statemachine.ClientGone, Err: errors.New("broken\npipe"), Tunnel: true,
	}
}

func TestLine(t *testing.T) {
	want := `{"time":"2026-01-02T03:04:05.006Z","peer":"192.0.2.1:4711","method":"GET","scheme":"https",` +
		`"host":"www.example.com","target":"/a?b=c","version":"HTTP/1.1","status":200,"bytes":42,"duration_ms":1.234,` +
		`"reason":"collapsed","forward":"uri-miss","not_stored":"no-store","forward_status":200,"collapsed":true,"stored":true,` +
		`"origin":"app","endpoint":"192.0.2.9:80","delivery":"client-gone","tunnel":true,` +
		`"user_agent":"curl/8","referer":"https://example.com/\"x\"","error":"broken\u000apipe"}` + "\n"
	if got := string(appendExchange(nil, record())); got != want {
		t.Errorf("line\n%swant\n%s", got, want)
	}
}

func TestLineOfAnUnparsedRequest(t *testing.T) {
	got := string(appendRefused(nil, 0, netip.AddrPort{}, 400, "bare CR"))
	if want := `{"time":"1970-01-01T00:00:00.000Z","status":400,"refused":"bare CR"}` + "\n"; got != want {
		t.Errorf("line %s", got)
	}
}

func TestShortestLine(t *testing.T) {
	r := &proxy.Record{Req: &message.Request{}, Decision: &statemachine.Decision{}}
	var v map[string]any
	line := appendExchange(nil, r)
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if v["reason"] != "none" || v["status"] != 0.0 || v["peer"] != nil || v["error"] != nil {
		t.Errorf("line %s", line)
	}
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", time.Microsecond: "0.001", 999 * time.Nanosecond: "0.000", -time.Second: "0.000",
		time.Millisecond: "1.000", 12*time.Second + 345*time.Microsecond: "12000.345",
	} {
		if got := string(appendMillis(nil, d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                 `""`,
		"plain /a?b=c":     `"plain /a?b=c"`,
		"q\"b\\":           `"q\"b\\"`,
		"a\x00\r\n\t\x1b":  `"a\u0000\u000d\u000a\u0009\u001b"`,
		"\x7f\u0085\u009b": `"\u007f\u0085\u009b"`,
		"grün 日本":          `"grün 日本"`,
		"\u2028\u2029":     `"\u2028\u2029"`,
		"\xff\xc3(":        `"\ufffd\ufffd("`,
		"\xed\xa0\x80":     `"\ufffd\ufffd\ufffd"`, // a surrogate is not UTF-8
	} {
		if got := string(appendText(nil, in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestTextIsBounded(t *testing.T) {
	for _, in := range []string{strings.Repeat("a", maxValue+1), strings.Repeat("é", maxValue), "a" + strings.Repeat("日", maxValue)} {
		var v string
		if err := json.Unmarshal(appendText(nil, in), &v); err != nil || len(v) > maxValue || len(v) < maxValue-utf8.UTFMax || !strings.HasPrefix(in, v) {
			t.Errorf("%d bytes of %d, %v", len(v), len(in), err)
		}
	}
}

// FuzzText holds the encoder to encoding/json: whatever a client sends, the
// value read back is the one sent, but for octets that are not UTF-8.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "/a?b", "\x00\x1f\x7f\"\\", "\xff\xfe", "\u2028", "日本", strings.Repeat("\xe2\x82", 3000), "\U0001f600"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := appendText(nil, in)
		if !bytes.Equal(out, appendText(nil, string(in))) {
			t.Fatal("strings and bytes differ")
		}
		for _, c := range out {
			if c < 0x20 || c == 0x7f {
				t.Fatalf("control byte %#x in %q", c, out)
			}
		}
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		want := string([]rune(string(in))) // what encoding/json makes of it
		if len(in) > maxValue {
			return
		}
		if got != want {
			t.Fatalf("read back %q, want %q", got, want)
		}
	})
}

func TestExchangeDoesNotAllocate(t *testing.T) {
	r, b := record(), make([]byte, 0, 1024)
	r.Err = nil
	if n := testing.AllocsPerRun(100, func() { b = appendExchange(b[:0], r) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func BenchmarkLine(b *testing.B) {
	r, buf := record(), make([]byte, 0, 1024)
	for b.Loop() {
		buf = appendExchange(buf[:0], r)
	}
}
