package statemachine

import (
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	const example = 784111777 // Sun, 06 Nov 1994 08:49:37 GMT
	for _, tc := range []struct {
		value string
		want  int64
		ok    bool
	}{
		// "A recipient that parses a timestamp value in an HTTP field MUST
		// accept all three HTTP-date formats." (RFC 9110 section 5.6.7)
		{"Sun, 06 Nov 1994 08:49:37 GMT", example, true},
		{"Sunday, 06-Nov-94 08:49:37 GMT", example, true},
		{"Sun Nov  6 08:49:37 1994", example, true},
		{"Sun Nov 16 08:49:37 1994", example + 10*86400, true},
		// "a cache recipient SHOULD match the field value case-insensitively"
		// (RFC 9111 section 4.2)
		{"sUN, 06 nOV 1994 08:49:37 gmt", example, true},
		{"SUNDAY, 06-NOV-94 08:49:37 GMT", example, true},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0, true},
		{"Thu, 31 Dec 1998 23:59:60 GMT", 915148800, true}, // a leap second
		{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400, true},
		{"Sun, 21 Nov 2286 04:46:39 GMT", 10000039599, true},
		{"Sat, 01 Jan 0000 00:00:00 GMT", minDate, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", maxDate, true},
		{"Thursday, 18-Aug-50 02:01:18 GMT", 2544400878, true},
		{"Saturday, 01-Jan-70 00:00:00 GMT", 0, true},
		{"Tuesday, 01-Jan-69 00:00:00 GMT", 3124224000, true},
		// "A cache recipient SHOULD consider a date with a zone abbreviation
		// other than "GMT" to be invalid for calculating expiration."
		{value: "Sun, 06 Nov 1994 08:49:37 UTC"},
		{value: "Sun, 06 Nov 1994 08:49:37 +0000"},
		{value: "Sun, 06 Nov 94 08:49:37 GMT"},
		{value: "Sun 06 Nov 1994 08:49:37 GMT"},
		{value: "Sun, 06  Nov  1994 08:49:37 GMT"},
		{value: "Sun, 06-Nov-1994 08:49:37 GMT"},
		{value: "Sun, 06 Nov 1994 08.49.37 GMT"},
		{value: "Sun, 06 Nov 1994 8:49:37 GMT"},
		{value: "Sun, 6 Nov 1994 08:49:37 GMT"},
		{value: "Sun, 31 Nov 1994 08:49:37 GMT"},
		{value: "Tue, 29 Feb 1900 00:00:00 GMT"},
		{value: "Sun, 00 Nov 1994 08:49:37 GMT"},
		{value: "Sun, 06 Nov 1994 24:00:00 GMT"},
		{value: "Sun, 06 Nov 1994 08:60:00 GMT"},
		{value: "Sun, 06 Nov 1994 08:49:61 GMT"},
		{value: "Xyz, 06 Nov 1994 08:49:37 GMT"},
		{value: "Sun, 06 Xyz 1994 08:49:37 GMT"},
		{value: "Sun, 06 Nov -994 08:49:37 GMT"},
		{value: "Sun, 06 Nov 1994 08:49:37 GMT "},
		{value: "0"}, {value: "-1"}, {value: ""}, {value: ","},
	} {
		got, ok := ParseDate([]byte(tc.value))
		if ok != tc.ok || got != tc.want {
			t.Errorf("%q: %d, %v, want %d, %v", tc.value, got, ok, tc.want, tc.ok)
		}
	}
}

// Every day of four centuries, and some seconds of it, against package time.
func TestDateAgainstTime(t *testing.T) {
	begin := time.Date(1799, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	for day := int64(0); day < 146100; day++ {
		unix := begin + day*86400 + day%86400
		want := time.Unix(unix, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
		if got := string(AppendDate(nil, unix)); got != want {
			t.Fatalf("%d: %s, want %s", unix, got, want)
		}
		if got, ok := ParseDate([]byte(want)); got != unix || !ok {
			t.Fatalf("%s: %d, want %d", want, got, unix)
		}
	}
}

func TestAppendDateSaturates(t *testing.T) {
	if got := string(AppendDate(nil, 1<<62)); got != "Fri, 31 Dec 9999 23:59:59 GMT" {
		t.Error(got)
	}
	if got := string(AppendDate(nil, -1<<62)); got != "Sat, 01 Jan 0000 00:00:00 GMT" {
		t.Error(got)
	}
}

func TestDateDoesNotAllocate(t *testing.T) {
	room := make([]byte, 0, 64)
	values := [][]byte{[]byte("Sun, 06 Nov 1994 08:49:37 GMT"), []byte("Sunday, 06-Nov-94 08:49:37 GMT"), []byte("Sun Nov  6 08:49:37 1994")}
	noAllocs(t, "date", func() {
		for _, v := range values {
			unix, _ := ParseDate(v)
			AppendDate(room, unix)
		}
	})
}

// FuzzDate: what AppendDate writes ParseDate reads back, and what ParseDate
// reads, however it was written, is a time that AppendDate can write.
func FuzzDate(f *testing.F) {
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT", int64(784111777))
	f.Add("Sun Nov  6 08:49:37 1994", int64(-1))
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		unix = minDate + int64(uint64(unix)%(maxDate-minDate+1))
		if got, ok := ParseDate(AppendDate(nil, unix)); got != unix || !ok {
			t.Fatalf("%d came back as %d, %v", unix, got, ok)
		}
		if read, ok := ParseDate([]byte(value)); ok && read <= maxDate {
			if got, ok := ParseDate(AppendDate(nil, read)); got != read || !ok {
				t.Fatalf("%q: %d came back as %d, %v", value, read, got, ok)
			}
		}
	})
}
