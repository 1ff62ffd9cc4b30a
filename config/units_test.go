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
