package h1

import (
	"fmt"
	"strings"
	"testing"
)

// awkward is one message and the verdict on it: accept, or the status it is
// refused with, and the section that decides. For a message that ends early,
// the status is cutShort.
type awkward struct {
	name    string
	raw     string
	status  int    // 0: accepted
	section string // of the refusal, as the Error has it; or what makes us accept
	want    string // of the accepted: what must occur in the description of head or body
}

const (
	get  = "GET / HTTP/1.1\r\n"
	host = "Host: a.example\r\n"
	end  = "\r\n"
	post = "POST /x HTTP/1.1\r\n" + host
	te   = post + "Transfer-Encoding: chunked\r\n\r\n"
)

var awkwardRequests = []awkward{
	// Request line: ordinary things that must pass.
	{"plain GET", get + host + end, 0, "RFC 9112 3", "GET http://a.example/ HTTP/1.1"},
	{"empty line before", "\r\n" + get + host + end, 0, "RFC 9112 2.2", "GET http://a.example/"},
	{"any token is a method", "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.1", "M-SEARCH!#"},
	{"method is case-sensitive", "get / HTTP/1.1\r\n" + host + end, 0, "RFC 9110 9.1", "get http"},
	{"query", "GET /a?b=c&d HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/a?b=c&d HTTP/1.1 form 0 path 2"},
	{"empty query", "GET /a? HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/a? HTTP/1.1 form 0 path 2"},
	{"second question mark", "GET /a?b?c HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "path 2"},
	{"two slashes", "GET //b.example/x HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "a.example//b.example/x"},
	{"dot segments are left alone", "GET /a/../b HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/a/../b"},
	{"percent octets are left alone", "GET /%2f%00%3f HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/%2f%00%3f"},
	{"bad percent octet is left alone", "GET /%zz HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/%zz"},
	{"excluded but seen in the wild", "GET /a|b{c}\"<>^` HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2", "/a|b{c}"},
	{"backslash", "GET /a\\b HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2", "/a\\b"},
	{"colon and at in path", "GET /a:b@c HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "/a:b@c"},
	{"URL as query", "GET /?u=http://x/ HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "form 0 path 1"},
	{"minor version above ours", "GET / HTTP/1.2\r\n" + host + end, 0, "RFC 9110 2.5", "HTTP/1.1"},
	{"minor version 9", "GET / HTTP/1.9\r\n" + host + end, 0, "RFC 9110 2.5", "HTTP/1.1"},

	// Request line: refused.
	{"two empty lines before", "\r\n\r\n" + get + host + end, 400, "RFC 9112 2.2", ""},
	{"bare LF before", "\n" + get + host + end, 400, "RFC 9112 2.2", ""},
	{"bare CR before", "\r" + get + host + end, 400, "RFC 9112 2.2", ""},
	{"space before method", " " + get + host + end, 400, "RFC 9112 3.1", ""},
	{"tab before method", "\t" + get + host + end, 400, "RFC 9112 3.1", ""},
	{"method with a colon", "GE:T / HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"method with a parenthesis", "GE(T / HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"method with NUL", "GE\x00T / HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"method with high octet", "GE\xc3\x89T / HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"method only", "GET\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"TLS hello on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "RFC 9112 3.1", ""},
	{"two spaces after method", "GET  / HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"tab after method", "GET\t/ HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.1", ""},
	{"two spaces after target", "GET /  HTTP/1.1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"tab after target", "GET /\tHTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"space in target", "GET /a b HTTP/1.1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"space after version", "GET / HTTP/1.1 \r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"HTTP/0.9", "GET /\r\n", 400, "RFC 9112 2.3", ""},
	{"HTTP/0.9 with a trailing space", "GET / \r\n", 400, "RFC 9112 2.3", ""},
	{"version 0.9 by name", "GET / HTTP/0.9\r\n" + host + end, 505, "RFC 9110 2.5", ""},
	{"version 2.0", "GET / HTTP/2.0\r\n" + host + end, 505, "RFC 9110 2.5", ""},
	{"version 3.0", "GET / HTTP/3.0\r\n" + host + end, 505, "RFC 9110 2.5", ""},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "RFC 9110 2.5", ""},
	{"version without minor", "GET / HTTP/1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"two-digit minor version", "GET / HTTP/1.10\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"two-digit major version", "GET / HTTP/11.1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"version with comma", "GET / HTTP/1,1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"version in lower case", "GET / http/1.1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"version of another protocol", "GET / RTSP/1.0\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"version with sign", "GET / HTTP/+1.1\r\n" + host + end, 400, "RFC 9112 2.3", ""},
	{"request line ended by LF", "GET / HTTP/1.1\n" + host + end, 400, "RFC 9112 2.2", ""},
	{"request line ended by CR CR LF", "GET / HTTP/1.1\r\r\n" + host + end, 400, "RFC 9112 2.2", ""},
	{"bare CR in target", "GET /\rX HTTP/1.1\r\n" + host + end, 400, "RFC 9112 2.2", ""},
	{"NUL in target", "GET /\x00 HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"DEL in target", "GET /\x7f HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"ESC in target", "GET /\x1b HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"raw UTF-8 in target", "GET /\xc3\xa9 HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"fragment in target", "GET /a#b HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"empty target", "GET  HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"relative target", "GET a/b HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"target is a query", "GET ?a HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"long request line", "GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1\r\n" + host + end, 414, "RFC 9112 3", ""},
	{"endless request line", "GET /" + strings.Repeat("a", 40<<10), 414, "RFC 9112 3", ""},
	{"endless method", strings.Repeat("A", 40<<10), 414, "RFC 9112 3", ""},

	// Forms of the target.
	{"absolute form", "GET http://b.example/x?y HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.2", "GET http://b.example/x?y HTTP/1.1 form 1 path 2"},
	{"absolute form, upper case", "GET HTTP://B.Example/X HTTP/1.1\r\n" + host + end, 0, "RFC 9110 4.2.3", "http://b.example/X"},
	{"absolute form without a path", "GET http://b.example HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "http://b.example/ "},
	{"absolute form with a query only", "GET http://b.example?q HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.1", "http://b.example/?q HTTP/1.1 form 1 path 1"},
	{"absolute form, default port", "GET http://b.example:80/ HTTP/1.1\r\n" + host + end, 0, "RFC 9110 4.2.3", "http://b.example/"},
	{"absolute form, other port", "GET http://b.example:8080/ HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.2", "http://b.example:8080/"},
	{"OPTIONS of a server", "OPTIONS * HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.4", "http://a.example* HTTP/1.1 form 2"},
	{"OPTIONS absolute, no path", "OPTIONS http://b.example HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.4", "http://b.example* HTTP/1.1 form 2"},
	{"OPTIONS absolute, query only", "OPTIONS http://b.example?q HTTP/1.1\r\n" + host + end, 0, "RFC 9112 3.2.4", "/?q"},
	{"asterisk with GET", "GET * HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"asterisk and more", "OPTIONS *x HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"CONNECT", "CONNECT b.example:443 HTTP/1.1\r\n" + host + end, 501, "RFC 9110 9.3.6", ""},
	{"CONNECT with a path", "CONNECT /x HTTP/1.1\r\n" + host + end, 501, "RFC 9110 9.3.6", ""},
	{"authority form with GET", "GET b.example:443 HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"userinfo", "GET http://u:p@b.example/ HTTP/1.1\r\n" + host + end, 400, "RFC 9110 4.2.4", ""},
	{"empty userinfo", "GET http://@b.example/ HTTP/1.1\r\n" + host + end, 400, "RFC 9110 4.2.4", ""},
	{"absolute form, empty host", "GET http:///x HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"absolute form, port only", "GET http://:80/x HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"absolute form, bad port", "GET http://b.example:8o/ HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"absolute form, one slash", "GET http:/b.example/ HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"absolute form, backslash", "GET http://b.example\\@c/ HTTP/1.1\r\n" + host + end, 400, "RFC 9110 4.2.4", ""},
	{"absolute form, foreign scheme", "GET ftp://b.example/ HTTP/1.1\r\n" + host + end, 400, "RFC 9112 3.2", ""},
	{"https on a plain connection", "GET https://b.example/ HTTP/1.1\r\n" + host + end, 421, "RFC 9110 7.4", ""},
	{"absolute form without Host", "GET http://b.example/ HTTP/1.1\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"absolute form with a bad Host", "GET http://b.example/ HTTP/1.1\r\nHost: a b\r\n" + end, 400, "RFC 9112 3.2", ""},

	// Host.
	{"Host in upper case", get + "HOST: A.EXAMPLE\r\n" + end, 0, "RFC 9110 4.2.3", "http://a.example/"},
	{"Host with default port", get + "Host: a.example:80\r\n" + end, 0, "RFC 9110 4.2.3", "http://a.example/ "},
	{"Host with empty port", get + "Host: a.example:\r\n" + end, 0, "RFC 9110 4.2.3", "http://a.example/ "},
	{"Host with another port", get + "Host: a.example:8080\r\n" + end, 0, "RFC 9110 7.2", "http://a.example:8080/"},
	{"Host is IPv4", get + "Host: 127.0.0.1:80\r\n" + end, 0, "RFC 9110 7.2", "http://127.0.0.1/"},
	{"Host is IPv6", get + "Host: [2001:DB8::1]:8080\r\n" + end, 0, "RFC 9110 7.2", "http://[2001:db8::1]:8080/"},
	{"Host with underscore", get + "Host: my_host\r\n" + end, 0, "RFC 9110 7.2", "http://my_host/"},
	{"Host with spaces around", get + "Host: \t a.example \t\r\n" + end, 0, "RFC 9112 5.1", "http://a.example/"},
	{"Host need not be first", get + "Accept: */*\r\n" + host + end, 0, "RFC 9110 7.2", "http://a.example/"},
	{"no Host", get + end, 400, "RFC 9112 3.2", ""},
	{"two Hosts", get + host + "Host: b.example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"two equal Hosts", get + host + host + end, 400, "RFC 9112 3.2", ""},
	{"empty Host", get + "Host:\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host list", get + "Host: a.example, b.example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a path", get + "Host: a.example/x\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with userinfo", get + "Host: u@a.example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a space", get + "Host: a example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a scheme", get + "Host: http://a.example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a percent octet", get + "Host: a%2eexample\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with high octets", get + "Host: \xc3\xa9.example\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a port too large", get + "Host: a.example:65536\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a signed port", get + "Host: a.example:+80\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with leading zeros in the port", get + "Host: a.example:080\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with two ports", get + "Host: a.example:80:81\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a colon only", get + "Host: :80\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host IPv6 unclosed", get + "Host: [::1\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host IPv6 with a zone", get + "Host: [fe80::1%25eth0]\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host IPv4 in brackets", get + "Host: [127.0.0.1]\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with text after the bracket", get + "Host: [::1]x\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"Host with a quote", get + "Host: \"a\"\r\n" + end, 400, "RFC 9112 3.2", ""},

	// Field lines.
	{"no space after the colon", get + "Host:a.example\r\n" + end, 0, "RFC 9112 5", "Host: a.example"},
	{"empty value", get + host + "X-Empty:\r\n" + end, 0, "RFC 9110 5.5", "X-Empty: \r\n"},
	{"value of spaces", get + host + "X-Empty: \t \r\n" + end, 0, "RFC 9110 5.5", "X-Empty: \r\n"},
	{"colon in value", get + host + "X: a:b\r\n" + end, 0, "RFC 9110 5.5", "X: a:b"},
	{"tab in value", get + host + "X: a\tb\r\n" + end, 0, "RFC 9110 5.5", "X: a\tb"},
	{"high octets in value", get + host + "X: \xff\xc3\xa9\r\n" + end, 0, "RFC 9110 5.5", "X: \xff\xc3\xa9"},
	{"any token is a name", get + host + "!#$%&'*+-.^_`|~09: x\r\n" + end, 0, "RFC 9110 5.1", "!#$%&'*+-.^_`|~09: x"},
	{"repeated unknown name", get + host + "X: 1\r\nX: 2\r\n" + end, 0, "RFC 9110 5.3", "X: 1\r\nX: 2\r\n"},
	{"field line ended by LF", get + host + "X: a\n" + end, 400, "RFC 9112 2.2", ""},
	{"name ended by LF", get + host + "X\n" + end, 400, "RFC 9112 2.2", ""},
	{"head ended by LF", get + host + "\n", 400, "RFC 9112 2.2", ""},
	{"head ended by CR CR LF", get + host + "\r\r\n", 400, "RFC 9112 2.2", ""},
	{"bare CR in value", get + host + "X: a\rb\r\n" + end, 400, "RFC 9112 2.2", ""},
	{"CR CR LF after value", get + host + "X: a\r\r\n" + end, 400, "RFC 9112 2.2", ""},
	{"bare CR in name", get + host + "X\rY: a\r\n" + end, 400, "RFC 9112 2.2", ""},
	{"NUL in value", get + host + "X: a\x00b\r\n" + end, 400, "RFC 9110 5.5", ""},
	{"control in value", get + host + "X: a\x01b\r\n" + end, 400, "RFC 9110 5.5", ""},
	{"vertical tab in value", get + host + "X: \va\r\n" + end, 400, "RFC 9110 5.5", ""},
	{"DEL in value", get + host + "X: aaaaaaaaaaaa\x7f\r\n" + end, 400, "RFC 9110 5.5", ""},
	{"space before colon", get + host + "X : a\r\n" + end, 400, "RFC 9112 5.1", ""},
	{"tab before colon", get + host + "X\t: a\r\n" + end, 400, "RFC 9112 5.1", ""},
	{"space before colon of a framing field", post + "Content-Length : 5\r\n\r\nhello", 400, "RFC 9112 5.1", ""},
	{"space within a name", get + host + "X Y: a\r\n" + end, 400, "RFC 9112 5.1", ""},
	{"folded line", get + host + "X: a\r\n b\r\n" + end, 400, "RFC 9112 5.2", ""},
	{"folded by tab", get + host + "X: a\r\n\tb\r\n" + end, 400, "RFC 9112 5.2", ""},
	{"folded into nothing", get + host + "X: a\r\n \r\n" + end, 400, "RFC 9112 5.2", ""},
	{"space before the first field", get + " " + host + end, 400, "RFC 9112 2.2", ""},
	{"line without a colon", get + host + "X\r\n" + end, 400, "RFC 9112 5", ""},
	{"empty name", get + host + ": a\r\n" + end, 400, "RFC 9110 5.1", ""},
	{"name with a high octet", get + host + "X\xe9: a\r\n" + end, 400, "RFC 9110 5.1", ""},
	{"name with NUL", get + host + "X\x00: a\r\n" + end, 400, "RFC 9110 5.1", ""},
	{"name with a quote", get + host + "\"X\": a\r\n" + end, 400, "RFC 9110 5.1", ""},
	{"name with a slash", get + host + "X/Y: a\r\n" + end, 400, "RFC 9110 5.1", ""},
	{"200 fields", get + host + strings.Repeat("X: 1\r\n", 199) + end, 0, "RFC 9110 5.4", "X: 1"},
	{"201 fields", get + host + strings.Repeat("X: 1\r\n", 200) + end, 431, "RFC 9110 5.4", ""},
	{"a long value", get + host + "X: " + strings.Repeat("a", 60000) + "\r\n" + end, 0, "RFC 9110 5.4", "aaaa"},
	{"a value too long", get + host + "X: " + strings.Repeat("a", 70000) + "\r\n" + end, 431, "RFC 9110 5.4", ""},
	{"an endless value", get + host + "X: " + strings.Repeat("a", 200000), 431, "RFC 9110 5.4", ""},
	{"head cut in a name", get + host + "X", cutShort, "RFC 9112 8", ""},
	{"head cut in a value", get + host + "X: a", cutShort, "RFC 9112 8", ""},
	{"head cut before the empty line", get + host, cutShort, "RFC 9112 8", ""},
	{"head cut in the request line", "GET / HT", cutShort, "RFC 9112 8", ""},

	// Content-Length.
	{"length and body", post + "Content-Length: 5\r\n\r\nhello", 0, "RFC 9112 6.3", "hello"},
	{"length zero", post + "Content-Length: 0\r\n\r\n", 0, "RFC 9112 6.3", "length 0"},
	{"leading zeros", post + "Content-Length: 005\r\n\r\nhello", 0, "RFC 9112 6.3", "hello"},
	{"GET with a body", get + host + "Content-Length: 5\r\n\r\nhello", 0, "RFC 9112 6", "hello"},
	{"equal lengths collapse", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, "RFC 9112 6.3", "length 5"},
	{"no length, no body", post + "\r\n", 0, "RFC 9112 6.3", "length 0"},
	{"largest length", post + "Content-Length: 9223372036854775807\r\n\r\nhello", cutShort, "RFC 9112 6.3", ""},
	{"length over 2^63-1", post + "Content-Length: 9223372036854775808\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"length over 2^64", post + "Content-Length: 18446744073709551621\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"differing lengths", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400, "RFC 9112 6.3", ""},
	{"length list", post + "Content-Length: 5, 5\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"differing length list", post + "Content-Length: 5,6\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"empty length", post + "Content-Length:\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"plus sign", post + "Content-Length: +5\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"minus sign", post + "Content-Length: -5\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"hexadecimal length", post + "Content-Length: 0x5\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"underscore in length", post + "Content-Length: 1_0\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"length with a point", post + "Content-Length: 5.0\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"length with an exponent", post + "Content-Length: 5e0\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"space inside length", post + "Content-Length: 1 0\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"quoted length", post + "Content-Length: \"5\"\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"length and a semicolon", post + "Content-Length: 5;x\r\n\r\nhello", 400, "RFC 9112 6.3", ""},
	{"body cut", post + "Content-Length: 6\r\n\r\nhello", cutShort, "RFC 9112 6.3", ""},

	// Transfer-Encoding.
	{"chunked", te + "5\r\nhello\r\n0\r\n\r\n", 0, "RFC 9112 7.1", "hello"},
	{"chunked in capitals", post + "transfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 0, "RFC 9112 7", "hello"},
	{"coding with length", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.1", ""},
	{"length with coding", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.1", ""},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.1", ""},
	{"chunked twice in a line", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"chunked in two lines", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.1", ""},
	{"identity then chunked in two lines", post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.1", ""},
	{"gzip then chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "RFC 9112 6.1", ""},
	{"gzip alone", post + "Transfer-Encoding: gzip\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"identity", post + "Transfer-Encoding: identity\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"chunked not last", post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"chunkedx", post + "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"leading comma", post + "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"trailing comma", post + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"quoted chunked", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"chunked with a parameter", post + "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"empty coding", post + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"vertical tab before chunked", post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400, "RFC 9110 5.5", ""},
	{"NUL after chunked", post + "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", 400, "RFC 9110 5.5", ""},
	{"high octet before chunked", post + "Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"space within chunked", post + "Transfer-Encoding: chun ked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 6.3", ""},
	{"folded chunked", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 5.2", ""},
	{"space before the coding's colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "RFC 9112 5.1", ""},
	{"underscore for hyphen is another field", post + "Transfer_Encoding: chunked\r\n\r\n", 0, "RFC 9110 5.1", "chunked false"},

	// Chunks.
	{"two chunks", te + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 0, "RFC 9112 7.1", "hello world"},
	{"upper-case size", te + "A\r\n0123456789\r\n0\r\n\r\n", 0, "RFC 9112 7.1", "0123456789"},
	{"zeros before the size", te + "0000000000000005\r\nhello\r\n000\r\n\r\n", 0, "RFC 9112 7.1", "hello"},
	{"extension", te + "5;a\r\nhello\r\n0;b=c\r\n\r\n", 0, "RFC 9112 7.1.1", "hello"},
	{"quoted extension", te + "5;a=\"b;c\\\"d\"\r\nhello\r\n0\r\n\r\n", 0, "RFC 9112 7.1.1", "hello"},
	{"two extensions", te + "5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n", 0, "RFC 9112 7.1.1", "hello"},
	{"17 digits", te + "00000000000000005\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size over 2^63-1", te + "8000000000000000\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size overflows", te + "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"no size", te + "\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"no size but an extension", te + ";a\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size with 0x", te + "0x5\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size with plus", te + "+5\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size with minus", te + "-5\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"space before size", te + " 5\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"space after size", te + "5 \r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"tab after size", te + "5\t\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size is no number", te + "g\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size with underscore", te + "0_5\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"size ended by LF", te + "5\nhello\r\n0\r\n\r\n", 400, "RFC 9112 2.2", ""},
	{"size ended by CR", te + "5\rhello\r\n0\r\n\r\n", 400, "RFC 9112 2.2", ""},
	{"size ended by CR CR LF", te + "5\r\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 2.2", ""},
	{"data ended by LF", te + "5\r\nhello\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"data ended by CR", te + "5\r\nhello\r0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"data not ended", te + "5\r\nhello0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"data too long", te + "5\r\nhello!\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"data too short", te + "6\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1", ""},
	{"extension with a control", te + "5;a\x01\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"extension ended by LF", te + "5;a\nhello\r\n0\r\n\r\n", 400, "RFC 9112 2.2", ""},
	{"extension with bare CR", te + "5;a\rb\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 2.2", ""},
	{"extension with an open quote", te + "5;a=\"b\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"LF in a quoted extension", te + "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"extension without a name", te + "5;\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"extension without a value", te + "5;a=\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"extension after white space", te + "5; a\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"extension with text after the quote", te + "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"chunk line too long", te + "5;" + strings.Repeat("a", 2000) + "\r\nhello\r\n0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"much ado about little data", te + strings.Repeat("1;"+strings.Repeat("a", 900)+"\r\nx\r\n", 30) + "0\r\n\r\n", 400, "RFC 9112 7.1.1", ""},
	{"no last chunk", te + "5\r\nhello\r\n", cutShort, "RFC 9112 8", ""},
	{"cut in data", te + "5\r\nhel", cutShort, "RFC 9112 8", ""},
	{"cut after the last chunk", te + "5\r\nhello\r\n0\r\n", cutShort, "RFC 9112 8", ""},

	// Trailers.
	{"trailer kept", te + "5\r\nhello\r\n0\r\nX-Checksum: 1\r\n\r\n", 0, "RFC 9110 6.5", "trailers X-Checksum: 1\r\n"},
	{"framing in a trailer is dropped", te + "5\r\nhello\r\n0\r\nContent-Length: 9\r\nX-A: 1\r\n\r\n", 0, "RFC 9110 6.5.1", "trailers X-A: 1\r\n"},
	{"trailer without a colon", te + "0\r\nX\r\n\r\n", 400, "RFC 9112 5", ""},
	{"trailer with a space before the colon", te + "0\r\nX : 1\r\n\r\n", 400, "RFC 9112 5.1", ""},
	{"folded trailer", te + "0\r\nX: 1\r\n y\r\n\r\n", 400, "RFC 9112 5.2", ""},
	{"trailer ended by LF", te + "0\r\nX: 1\n\r\n", 400, "RFC 9112 2.2", ""},
	{"trailers ended by LF", te + "0\r\n\n", 400, "RFC 9112 2.2", ""},
	{"NUL in a trailer", te + "0\r\nX: \x00\r\n\r\n", 400, "RFC 9110 5.5", ""},
	{"trailers too large", te + "0\r\nX: " + strings.Repeat("a", 9000) + "\r\n\r\n", 431, "RFC 9112 7.1.2", ""},
	{"too many trailers", te + "0\r\n" + strings.Repeat("X: 1\r\n", 201) + "\r\n", 431, "RFC 9110 5.4", ""},
	{"data after the last chunk is a trailer", te + "0\r\nGET / HTTP/1.1\r\n\r\n", 400, "RFC 9112 5.1", ""},

	// HTTP/1.0, persistence, expectations, upgrades.
	{"HTTP/1.0", "GET / HTTP/1.0\r\n" + host + end, 0, "RFC 9112 9.3", "keep false"},
	{"HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n" + end, 0, "RFC 9112 9.3", "keep true"},
	{"HTTP/1.0 absolute form without Host", "GET http://b.example/ HTTP/1.0\r\n" + end, 0, "RFC 9112 3.2.2", "http://b.example/"},
	{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n" + end, 400, "RFC 9112 3.3", ""},
	{"HTTP/1.0 with two Hosts", "GET / HTTP/1.0\r\n" + host + host + end, 400, "RFC 9112 3.2", ""},
	{"HTTP/1.0 with a bad Host", "GET / HTTP/1.0\r\nHost: a/b\r\n" + end, 400, "RFC 9112 3.2", ""},
	{"close", get + host + "Connection: close\r\n" + end, 0, "RFC 9112 9.6", "keep false"},
	{"close among others, in capitals", get + host + "Connection: x, CLOSE\r\n" + end, 0, "RFC 9112 9.6", "keep false"},
	{"close in a second line", get + host + "Connection: keep-alive\r\nConnection: close\r\n" + end, 0, "RFC 9112 9.3", "keep false"},
	{"closed is not close", get + host + "Connection: closed\r\n" + end, 0, "RFC 9112 9.3", "keep true"},
	{"100-continue", post + "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello", 0, "RFC 9110 10.1.1", "expect true"},
	{"100-continue without a body", get + host + "Expect: 100-continue\r\n" + end, 0, "RFC 9110 10.1.1", "expect false"},
	{"100-continue from HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 0, "RFC 9110 10.1.1", "expect false"},
	{"another expectation", post + "Expect: 200-ok\r\n\r\n", 417, "RFC 9110 10.1.1", ""},
	{"expectation with more", post + "Expect: 100-continue, x\r\n\r\n", 417, "RFC 9110 10.1.1", ""},
	{"empty expectation", post + "Expect:\r\n\r\n", 417, "RFC 9110 10.1.1", ""},
	{"upgrade", get + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n" + end, 0, "RFC 9110 7.8", `upgrade "websocket"`},
	{"upgrade not named in Connection", get + host + "Upgrade: websocket\r\n" + end, 0, "RFC 9110 7.8", `upgrade ""`},
	{"upgrade from HTTP/1.0", "GET / HTTP/1.0\r\n" + host + "Connection: upgrade\r\nUpgrade: websocket\r\n" + end, 0, "RFC 9110 7.8", `upgrade ""`},
	{"upgrade to h2c", get + host + "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + end, 0, "RFC 9110 7.8", `upgrade ""`},
	{"upgrade to websocket or h2c", get + host + "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n" + end, 0, "RFC 9110 7.8", `upgrade ""`},
	{"upgrade with a body", post + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello", 0, "RFC 9110 7.8", `upgrade ""`},
	{"upgrade in two lines", get + host + "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: x\r\n" + end, 0, "RFC 9110 7.8", `upgrade ""`},
	{"Connection names framing", post + "Connection: content-length\r\nContent-Length: 5\r\n\r\nhello", 0, "RFC 9110 7.6.1", "length 5"},
}

func TestAwkwardRequests(t *testing.T) {
	if len(awkwardRequests) < 150 {
		t.Errorf("only %d requests", len(awkwardRequests))
	}
	for _, x := range awkwardRequests {
		t.Run(x.name, func(t *testing.T) {
			checkVerdicts(t, x, func(step int) verdict { return judgeRequest(x.raw, step, &ServerOptions{}) })
		})
	}
}

// checkVerdicts judges a message in one piece, then in small ones.
func checkVerdicts(t *testing.T, x awkward, judge func(step int) verdict) {
	t.Helper()
	whole := judge(len(x.raw) + 1)
	if whole.status != x.status {
		t.Fatalf("%v, want %d (%s)", whole, x.status, x.section)
	}
	if x.status > 0 && whole.section != x.section {
		t.Errorf("refused by %s, want %s", whole.section, x.section)
	}
	parts := fmt.Sprintf("%s body %q left %q trailers %s", whole.head, whole.body, whole.left, whole.trailers)
	if x.status == 0 && !strings.Contains(parts, x.want) {
		t.Errorf("no %q in %q", x.want, parts)
	}
	for _, step := range []int{1, 7} {
		if v := judge(step); v != whole {
			t.Errorf("%d bytes at a time: %v, in one piece: %v", step, v, whole)
		}
	}
}

func TestDefaultHostStandsInForHTTP10(t *testing.T) {
	o := &ServerOptions{DefaultHost: "Default.Example"}
	for _, raw := range []string{"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost:\r\n\r\n"} {
		if v := judgeRequest(raw, 100, o); !strings.Contains(v.head, "http://default.example/") {
			t.Errorf("%q: %v", raw, v)
		}
	}
	for _, raw := range []string{"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"} {
		if v := judgeRequest(raw, 100, o); v.status != 400 {
			t.Errorf("%q: %v", raw, v)
		}
	}
}

func TestSchemeOfTLSListener(t *testing.T) {
	o := &ServerOptions{Scheme: "https"}
	for raw, want := range map[string]string{
		"GET https://B.example:443/ HTTP/1.1\r\nHost: x\r\n\r\n": "GET https://b.example/ ",
		"GET / HTTP/1.1\r\nHost: b.example:443\r\n\r\n":          "GET https://b.example/ ",
		"GET / HTTP/1.1\r\nHost: b.example:80\r\n\r\n":           "GET https://b.example:80/ ",
	} {
		if v := judgeRequest(raw, 100, o); !strings.HasPrefix(v.head, want) {
			t.Errorf("%q: %v", raw, v)
		}
	}
	if v := judgeRequest("GET http://b.example/ HTTP/1.1\r\nHost: x\r\n\r\n", 100, o); v.status != 421 {
		t.Errorf("http over TLS: %v", v)
	}
}
