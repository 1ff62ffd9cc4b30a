package config

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  time.Duration
		again string // as FormatDuration writes it; empty: as text
	}{
		{"0", 0, "0s"},
		{"0s", 0, ""},
		{"500ms", 500 * time.Millisecond, ""},
		{"1.5s", 1500 * time.Millisecond, ""},
		{"90s", 90 * time.Second, "1m30s"},
		{"10m", 10 * time.Minute, ""},
		{"1h", time.Hour, ""},
		{"1h0m1s", time.Hour + time.Second, ""},
		{"24h", day, "1d"},
		{"7d", 7 * day, ""},
		{"1d12h", 36 * time.Hour, ""},
		{"0d", 0, "0s"},
		{"36500d", 36500 * day, ""},
	} {
		got, err := ParseDuration(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", test.text, got, err, test.want)
		}
		again := test.again
		if again == "" {
			again = test.text
		}
		if s := FormatDuration(got); s != again {
			t.Errorf("FormatDuration(%v) = %q, want %q", got, s, again)
		}
	}
	for _, text := range []string{"", "s", "1", "-1s", "+1s", "1d-1h", "1d+1h", "d", "1dd", "1h1d", "1.5d", "1 s", "1d ", "106752d", "106751d24h", "9999999h", "99999999999999999999999d"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, d)
		}
	}
	if s := FormatDuration(None); s != "none" {
		t.Errorf("None is written %q", s)
	}
}

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  Size
		again string
	}{
		{"0", 0, ""},
		{"0MiB", 0, "0"},
		{"1B", 1, ""},
		{"1024B", 1024, "1KiB"},
		{"1000B", 1000, "1KB"},
		{"1kB", 1000, "1KB"},
		{"64KiB", 64 << 10, ""},
		{"10MB", 10e6, ""},
		{"3GiB", 3 << 30, ""},
		{"2TB", 2e12, ""},
		{"8388607TiB", 8388607 << 40, ""},
		{"9223372036854775807B", math.MaxInt64, ""},
	} {
		got, err := ParseSize(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", test.text, got, err, test.want)
		}
		again := test.again
		if again == "" {
			again = test.text
		}
		if s := got.String(); s != again {
			t.Errorf("Size(%d) is written %q, want %q", got, s, again)
		}
	}
	for _, text := range []string{"", "B", "1", "-1B", "+1B", "1 KiB", "1.5GiB", "1K", "1kib", "8388608TiB", "9223372036854775808B", "none"} {
		if s, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, s)
		}
	}
}

func TestLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "unix:/run/s": true,
		"[::ffff:127.0.0.1]:1": true,
		":1":                   false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "localhost.example.com:1": false,
	} {
		var a Address
		if err := a.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := a.Loopback(); got != want {
			t.Errorf("%s: loopback %v, want %v", text, got, want)
		}
	}
}

func TestSameAddress(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true},
		{":80", ":81", false},
		{":0", ":0", false},
		{":80", "10.0.0.1:080", true},
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"0.0.0.0:80", "[::]:80", true},
		{"0.0.0.0:80", "[::1]:80", false},
		{"[::]:80", "10.0.0.1:80", true},
		{"10.0.0.1:80", "10.0.0.2:80", false},
		{"10.0.0.1:80", "[::ffff:10.0.0.1]:80", true},
		{"Example.com:80", "example.com:80", true},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":80", false},
	} {
		var a, b Address
		if err := a.UnmarshalText([]byte(test.a)); err != nil {
			t.Fatal(err)
		}
		if err := b.UnmarshalText([]byte(test.b)); err != nil {
			t.Fatal(err)
		}
		if sameAddress(a, b) != test.want || sameAddress(b, a) != test.want {
			t.Errorf("%s and %s: want %v", test.a, test.b, test.want)
		}
	}
}

func TestHostnames(t *testing.T) {
	for text, want := range map[string]bool{
		"example.com": true, "a": true, "a-b.c_d": true, "1a.example": true, "xn--bcher-kva.example": true,
		"": false, ".": false, "a.": false, "-a": false, "a-": false, "a..b": false, "a b": false, "1.2.3": false, "10": false, "ä": false,
	} {
		if isHostname(text) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}
