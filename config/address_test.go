package config

import "testing"

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
