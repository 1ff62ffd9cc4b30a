package h1

import (
	"strings"
	"testing"
)

// awkwardResponse is a response to one request, GET unless said otherwise.
type awkwardResponse struct {
	awkward
	method  string
	upgrade bool
	reuse   bool // the connection may carry another request
}

const (
	ok    = "HTTP/1.1 200 OK\r\n"
	okTE  = ok + "Transfer-Encoding: chunked\r\n\r\n"
	early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
)

var awkwardResponses = []awkwardResponse{
	// Status line.
	accept("plain", ok+"Content-Length: 5\r\n\r\nhello", "RFC 9112 4", "hello").reusable(),
	accept("no reason phrase", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "RFC 9112 4", "200").reusable(),
	accept("no space for the phrase either", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4", "200").reusable(),
	accept("phrase with high octets and tabs", "HTTP/1.1 200 \xc3\xa9\ta b\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4", "a b").reusable(),
	accept("unknown status", "HTTP/1.1 299 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15", "299").reusable(),
	accept("status 599", "HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15", "599").reusable(),
	accept("minor version above ours", "HTTP/1.3 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9110 2.5", "HTTP/1.1").reusable(),
	refuse("status 600", "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15"),
	refuse("status 099", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15"),
	refuse("status 000", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15"),
	refuse("two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("status is no number", "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("status with a sign", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("tab before the status", "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("tab after the status", "HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9110 2.5"),
	refuse("version 0.9", "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9110 2.5"),
	refuse("version without minor", "HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("two-digit minor version", "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("lower-case version", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("another protocol", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("a body without a head", "<html>hello</html>\r\n\r\n", "RFC 9112 4"),
	refuse("empty line before", "\r\n"+ok+"Content-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("space before", " "+ok+"Content-Length: 0\r\n\r\n", "RFC 9112 4"),
	refuse("status line ended by LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "RFC 9112 2.2"),
	refuse("bare CR in the phrase", "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", "RFC 9112 2.2"),
	refuse("NUL in the phrase", "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4"),

	// Field lines.
	refuse("folded line", ok+"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "RFC 9112 5.2"),
	refuse("space before the first field", ok+" X: a\r\nContent-Length: 0\r\n\r\n", "RFC 9112 2.2"),
	refuse("space before colon", ok+"Content-Length : 0\r\n\r\n", "RFC 9112 5.1"),
	refuse("line without a colon", ok+"X\r\nContent-Length: 0\r\n\r\n", "RFC 9112 5"),
	refuse("empty name", ok+": x\r\nContent-Length: 0\r\n\r\n", "RFC 9110 5.1"),
	refuse("name is no token", ok+"X(Y): x\r\nContent-Length: 0\r\n\r\n", "RFC 9110 5.1"),
	refuse("NUL in value", ok+"X: \x00\r\nContent-Length: 0\r\n\r\n", "RFC 9110 5.5"),
	refuse("control in value", ok+"X: \x1b[0m\r\nContent-Length: 0\r\n\r\n", "RFC 9110 5.5"),
	refuse("bare CR in value", ok+"X: a\rY: b\r\nContent-Length: 0\r\n\r\n", "RFC 9112 2.2"),
	refuse("field line ended by LF", ok+"X: a\nContent-Length: 0\r\n\r\n", "RFC 9112 2.2"),
	refuse("head ended by LF", ok+"Content-Length: 0\r\n\n", "RFC 9112 2.2"),
	refuse("201 fields", ok+strings.Repeat("X: 1\r\n", 201)+"\r\n", "RFC 9110 5.4"),
	refuse("1 MiB of head", ok+"X: "+strings.Repeat("a", 1<<20)+"\r\n\r\n", "RFC 9110 5.4"),
	refuse("endless fields", ok+strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 150), "RFC 9110 5.4"),
	cutAt("nothing at all", "", "RFC 9112 8"),
	cutAt("head cut in the status line", "HTTP/1.1 20", "RFC 9112 8"),
	cutAt("head cut in a field", ok+"X: a", "RFC 9112 8"),
	cutAt("head without its end", ok+"Content-Length: 0\r\n", "RFC 9112 8"),

	// Length.
	accept("equal lengths collapse", ok+"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 6.3", "hello").reusable(),
	accept("bytes after the message", ok+"Content-Length: 5\r\n\r\nhello!", "RFC 9112 6.3", `left "!"`),
	accept("a second response after the message", ok+"Content-Length: 5\r\n\r\nhello"+ok+"Content-Length: 0\r\n\r\n", "RFC 9112 6.3", "hello"),
	accept("bytes where length is 0", ok+"Content-Length: 0\r\n\r\nhello", "RFC 9112 6.3", `body ""`),
	cutAt("short", ok+"Content-Length: 6\r\n\r\nhello", "RFC 9112 6.3"),
	cutAt("none of it", ok+"Content-Length: 6\r\n\r\n", "RFC 9112 6.3"),
	refuse("differing lengths", ok+"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "RFC 9112 6.3"),
	refuse("length list", ok+"Content-Length: 5, 5\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("empty length", ok+"Content-Length:\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("negative length", ok+"Content-Length: -5\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("signed length", ok+"Content-Length: +5\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("hexadecimal length", ok+"Content-Length: 0x5\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("length over 2^63-1", ok+"Content-Length: 9223372036854775808\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("length of a HEAD is no number", ok+"Content-Length: x\r\n\r\n", "RFC 9112 6.3").to("HEAD"),

	// To the end of the connection.
	accept("until close", ok+"\r\nhello", "RFC 9112 6.3", "hello"),
	accept("until close, empty", ok+"\r\n", "RFC 9112 6.3", `body ""`),
	accept("HTTP/1.0 until close", "HTTP/1.0 200 OK\r\n\r\nhello", "RFC 9112 6.3", "hello"),
	accept("keep-alive does not make it shorter", ok+"Connection: keep-alive\r\n\r\nhello", "RFC 9112 6.3", "hello"),

	// Transfer-Encoding.
	accept("chunked", okTE+"5\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1", "hello").reusable(),
	accept("chunked in capitals", ok+"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "RFC 9112 7", "hello").reusable(),
	accept("empty chunked", okTE+"0\r\n\r\n", "RFC 9112 7.1", `body ""`).reusable(),
	accept("extensions", okTE+"5;a=b\r\nhello\r\n0;c=\"d\"\r\n\r\n", "RFC 9112 7.1.1", "hello").reusable(),
	accept("trailers", okTE+"5\r\nhello\r\n0\r\nServer-Timing: a\r\nContent-Length: 3\r\n\r\n", "RFC 9110 6.5", "trailers Server-Timing: a\r\n").reusable(),
	accept("bytes after the last chunk", okTE+"5\r\nhello\r\n0\r\n\r\nx", "RFC 9112 6.3", "hello"),
	refuse("coding and length", ok+"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "RFC 9112 6.1"),
	refuse("coding and length to HEAD", ok+"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "RFC 9112 6.1").to("HEAD"),
	refuse("coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "RFC 9112 6.1"),
	refuse("two coding lines", ok+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "RFC 9112 6.1"),
	refuse("gzip, chunked", ok+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "RFC 9112 6.1"),
	refuse("gzip until close", ok+"Transfer-Encoding: gzip\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("identity", ok+"Transfer-Encoding: identity\r\n\r\nhello", "RFC 9112 6.3"),
	refuse("chunked not last", ok+"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "RFC 9112 6.3"),
	refuse("xchunked", ok+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "RFC 9112 6.3"),
	refuse("size is no number", okTE+"hello\r\n0\r\n\r\n", "RFC 9112 7.1"),
	refuse("size with a space", okTE+"5 \r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1"),
	refuse("size overflows", okTE+"10000000000000005\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1"),
	refuse("negative size", okTE+"-1\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1"),
	refuse("data longer than its chunk", okTE+"4\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1"),
	refuse("chunk line ended by LF", okTE+"5\nhello\r\n0\r\n\r\n", "RFC 9112 2.2"),
	refuse("malformed trailer", okTE+"0\r\nX\r\n\r\n", "RFC 9112 5"),
	refuse("trailers too large", okTE+"0\r\nX: "+strings.Repeat("a", 9000)+"\r\n\r\n", "RFC 9112 7.1.2"),
	cutAt("no last chunk", okTE+"5\r\nhello\r\n", "RFC 9112 8"),
	cutAt("cut in a chunk", okTE+"5\r\nhe", "RFC 9112 8"),
	cutAt("cut in a size", okTE+"5", "RFC 9112 8"),
	cutAt("cut in the trailers", okTE+"0\r\nX: 1\r\n", "RFC 9112 8"),

	// No content.
	accept("HEAD with a length", ok+"Content-Length: 5\r\n\r\n", "RFC 9112 6.3", "length 5 nobody true").to("HEAD").reusable(),
	accept("HEAD with a coding", ok+"Transfer-Encoding: chunked\r\n\r\n", "RFC 9112 6.1", "nobody true").to("HEAD").reusable(),
	accept("HEAD with neither", ok+"\r\n", "RFC 9112 6.3", "length -1 nobody true").to("HEAD").reusable(),
	accept("HEAD answered with a body", ok+"Content-Length: 5\r\n\r\nhello", "RFC 9112 6.3", `left "hello"`).to("HEAD"),
	accept("204", "HTTP/1.1 204 No Content\r\n\r\n", "RFC 9112 6.3", "nobody true").reusable(),
	accept("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "RFC 9110 8.6", "nobody true"),
	accept("204 with a coding", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "RFC 9112 6.1", "nobody true"),
	accept("204 with a body", "HTTP/1.1 204 No Content\r\n\r\nhello", "RFC 9112 6.3", `left "hello"`),
	accept("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "RFC 9112 6.3", "nobody true").reusable(),
	accept("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "RFC 9112 6.3", "length 5 nobody true").reusable(),
	accept("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 6.3", `left "hello"`),
	accept("205 with a length", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15.3.6", "length 0").reusable(),

	// Interim responses and upgrades.
	accept("100 first", "HTTP/1.1 100 Continue\r\n\r\n"+ok+"Content-Length: 5\r\n\r\nhello", "RFC 9110 15.2", "hello").reusable(),
	accept("103 first", early+ok+"Content-Length: 5\r\n\r\nhello", "RFC 8297 2", "hello").reusable(),
	accept("16 interim heads", strings.Repeat(early, 16)+ok+"Content-Length: 0\r\n\r\n", "RFC 9110 15.2", "200").reusable(),
	refuse("17 interim heads", strings.Repeat(early, 17)+ok+"Content-Length: 0\r\n\r\n", "RFC 9110 15.2"),
	refuse("interim from HTTP/1.0", "HTTP/1.0 100 Continue\r\n\r\n"+ok+"Content-Length: 0\r\n\r\n", "RFC 9110 15"),
	refuse("101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "RFC 9110 15.2.2"),
	refuse("101 to nothing", "HTTP/1.1 101 Switching Protocols\r\n\r\nraw", "RFC 9110 15.2.2").upgraded(),
	accept("101 asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw", "RFC 9110 15.2.2", `left "raw"`).upgraded(),
	accept("upgrade declined", ok+"Content-Length: 5\r\n\r\nhello", "RFC 9110 7.8", "hello").upgraded().reusable(),
	cutAt("only an interim head", "HTTP/1.1 100 Continue\r\n\r\n", "RFC 9112 8"),

	// Persistence.
	accept("close", ok+"Connection: close\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 9.6", "keep false"),
	accept("close among others", ok+"Connection: x,Close , y\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 9.6", "keep false"),
	accept("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 9.3", "keep false"),
	accept("HTTP/1.0 keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 9.3", "keep true").reusable(),
}

func accept(name, raw, section, want string) awkwardResponse {
	return awkwardResponse{awkward: awkward{name, raw, 0, section, want}, method: "GET"}
}

func refuse(name, raw, section string) awkwardResponse {
	return awkwardResponse{awkward: awkward{name, raw, 502, section, ""}, method: "GET"}
}

func cutAt(name, raw, section string) awkwardResponse {
	return awkwardResponse{awkward: awkward{name, raw, cutShort, section, ""}, method: "GET"}
}

func (x awkwardResponse) to(method string) awkwardResponse { x.method = method; return x }
func (x awkwardResponse) reusable() awkwardResponse        { x.reuse = true; return x }
func (x awkwardResponse) upgraded() awkwardResponse        { x.upgrade = true; return x }

func TestAwkwardResponses(t *testing.T) {
	if len(awkwardResponses) < 80 {
		t.Errorf("only %d responses", len(awkwardResponses))
	}
	for _, x := range awkwardResponses {
		t.Run(x.name, func(t *testing.T) {
			checkVerdicts(t, x.awkward, func(step int) verdict {
				v, _ := judgeResponse(x.method, x.upgrade, x.raw, step, &ClientOptions{})
				return v
			})
			// In one piece, so that whatever follows the message is seen.
			_, c := judgeResponse(x.method, x.upgrade, x.raw, len(x.raw)+1, &ClientOptions{})
			if c.Reusable() != x.reuse {
				t.Errorf("Reusable() = %v", c.Reusable())
			}
		})
	}
}
