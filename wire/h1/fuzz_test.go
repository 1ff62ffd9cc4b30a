package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"edge/message"
)

// fuzzBound keeps inputs within what the laws can be tried on quickly.
const fuzzBound = 4 << 10

// FuzzRequestHead holds every request to these laws: the verdict does not
// depend on how the bytes arrive; what is accepted is framed one way only,
// leaves exactly the bytes after it, reads the same to net/http, and reads the
// same again when written from its parts.
func FuzzRequestHead(f *testing.F) {
	for _, x := range awkwardRequests {
		if len(x.raw) <= fuzzBound {
			f.Add([]byte(x.raw))
		}
	}
	o := &ServerOptions{DefaultHost: "default.example"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > fuzzBound {
			t.Skip("longer than fuzzBound")
		}
		whole := judgeRequest(string(raw), len(raw)+1, o)
		for _, step := range []int{1, 3} {
			if v := judgeRequest(string(raw), step, o); v != whole {
				t.Fatalf("%d at a time: %v\nin one piece: %v", step, v, whole)
			}
		}
		if whole.status != 0 {
			return
		}
		if !strings.HasSuffix(string(raw), whole.left) {
			t.Fatalf("left %q of %q", whole.left, raw)
		}
		agreesWithNetHTTP(t, raw, whole)
		requestSurvivesRewriting(t, raw)
	})
}

// agreesWithNetHTTP: where net/http accepts too, it sees the same body and the
// same rest. It is more lenient than we are, so that this is a second opinion
// on everything we let through.
func agreesWithNetHTTP(t *testing.T, raw []byte, v verdict) {
	br := bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\r\n"))))
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	rest, _ := io.ReadAll(br)
	if string(body) != v.body || string(rest) != v.left {
		t.Fatalf("net/http reads body %q, rest %q; we %q, %q", body, rest, v.body, v.left)
	}
}

func requestSurvivesRewriting(t *testing.T, raw []byte) {
	limits := Limits{}.withDefaults()
	p := requestParser{scheme: "http", defaultHost: []byte("default.example"), limits: &limits}
	var first, second message.Request
	if _, f := p.parse(raw, &first); f != faultNone {
		t.Fatalf("parser refuses what the connection accepts: %v", faults[f])
	}
	if first.Fields.Has(message.FieldTransferEncoding) && first.Fields.Has(message.FieldContentLength) {
		t.Fatal("accepted with both Transfer-Encoding and Content-Length")
	}
	if len(first.Authority) == 0 || first.Fields.Count(message.FieldHost) > 1 {
		t.Fatalf("authority %q, %d Hosts", first.Authority, first.Fields.Count(message.FieldHost))
	}
	first = *first.Clone()
	first.Fields.Set(message.FieldHost, first.Authority)
	if first.Form == message.AbsoluteForm {
		first.Form = message.OriginForm
	}
	line := first.Method + " " + string(first.Target) + " " + first.Version.String() + "\r\n"
	again := append(first.Fields.AppendLines([]byte(line)), "\r\n"...)
	n, f := p.parse(again, &second)
	if f == faultHeadLong || f == faultTooManyFields {
		return // the Host added was one too many
	}
	if f != faultNone || n != len(again) {
		t.Fatalf("rewritten as %q: %v, %d of %d bytes", again, faults[f], n, len(again))
	}
	if a, b := describeRequest(&first), describeRequest(&second); a != b {
		t.Fatalf("rewritten as %q\n%s\n%s", again, a, b)
	}
}

// FuzzResponseHead holds responses to the same laws.
func FuzzResponseHead(f *testing.F) {
	for _, x := range awkwardResponses {
		if len(x.raw) <= fuzzBound {
			f.Add([]byte(x.raw), x.method == "HEAD", x.upgrade)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, head, upgrade bool) {
		if len(raw) > fuzzBound {
			t.Skip("longer than fuzzBound")
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		whole, _ := judgeResponse(method, upgrade, string(raw), len(raw)+1, &ClientOptions{})
		for _, step := range []int{1, 3} {
			if v, _ := judgeResponse(method, upgrade, string(raw), step, &ClientOptions{}); v != whole {
				t.Fatalf("%d at a time: %v\nin one piece: %v", step, v, whole)
			}
		}
		if whole.status == 0 && !strings.HasSuffix(string(raw), whole.left) {
			t.Fatalf("left %q of %q", whole.left, raw)
		}
		responseSurvivesRewriting(t, raw, method, upgrade)
	})
}

func responseSurvivesRewriting(t *testing.T, raw []byte, method string, upgrade bool) {
	limits := Limits{}.withDefaults()
	p := responseParser{limits: &limits, method: method, upgrade: upgrade}
	var first, second message.Response
	if _, f := p.parse(raw, &first); f != faultNone {
		return
	}
	if first.Fields.Has(message.FieldTransferEncoding) && first.Fields.Has(message.FieldContentLength) {
		t.Fatal("accepted with both Transfer-Encoding and Content-Length")
	}
	first = *first.Clone()
	line := first.Version.String() + " " + strconv.Itoa(first.Status) + " " + string(first.Reason) + "\r\n"
	again := append(first.Fields.AppendLines([]byte(line)), "\r\n"...)
	n, f := p.parse(again, &second)
	if f != faultNone || n != len(again) {
		t.Fatalf("rewritten as %q: %v, %d of %d bytes", again, faults[f], n, len(again))
	}
	if a, b := describeResponse(&first), describeResponse(&second); a != b {
		t.Fatalf("rewritten as %q\n%s\n%s", again, a, b)
	}
}

// FuzzChunkedBody: what our writer encodes, in pieces of any sizes, decodes to
// itself and nothing is left; and arbitrary bytes as a chunked body get one
// verdict however they arrive, which net/http shares where it accepts.
func FuzzChunkedBody(f *testing.F) {
	for _, x := range awkwardRequests {
		if raw, ok := strings.CutPrefix(x.raw, te); ok && len(raw) <= fuzzBound {
			f.Add([]byte(raw), uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, size uint16) {
		if len(raw) > fuzzBound {
			t.Skip("longer than fuzzBound")
		}
		encodesAndDecodes(t, raw, int(size)%5000+1)
		msg := te + string(raw)
		whole := judgeRequest(msg, len(msg), &ServerOptions{})
		for _, step := range []int{1, 5} {
			if v := judgeRequest(msg, step, &ServerOptions{}); v != whole {
				t.Fatalf("%d at a time: %v\nin one piece: %v", step, v, whole)
			}
		}
		if whole.status == 0 {
			agreesWithNetHTTP(t, []byte(msg), whole)
		}
	})
}

func encodesAndDecodes(t *testing.T, content []byte, size int) {
	var guard interrupter
	times := serverTimeouts
	nc := &pieceConn{}
	var w writer
	w.init(nc, &times, &guard)
	for rest := content; len(rest) > 0; {
		n := min(size, len(rest))
		check(t, w.chunk(rest[:n]))
		rest = rest[n:]
	}
	w.lastChunk(nil)
	check(t, w.flush())
	v := judgeRequest(te+nc.wrote.String()+"rest", 64, &ServerOptions{})
	if v.status != 0 || v.body != string(content) || v.left != "rest" {
		t.Fatalf("%q in chunks of %d: %v", content, size, v)
	}
}
