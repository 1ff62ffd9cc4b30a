package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the tests compare with")

// rest are the blocks that a case may leave out.
var rest = []struct{ key, block string }{
	{"version", "version: 1\n"},
	{"listeners", "listeners: [{address: \"127.0.0.1:8080\"}]\n"},
	{"origins", "origins: {app: {endpoints: [{url: \"http://10.0.0.1\"}]}}\n"},
	{"routes", "routes: [{match: {path: /*}, origin: app}]\n"},
}

// completed adds the blocks that text leaves out.
func completed(text string) string {
	for _, r := range rest {
		if !regexp.MustCompile(`(?m)^` + r.key + `:`).MatchString(text) {
			text += r.block
		}
	}
	return text
}

var bytePlace = regexp.MustCompile(`<0x([0-9a-f]{2})>`)

func unescape(text string) string {
	text = strings.ReplaceAll(text, "<TAB>", "\t")
	if strings.Contains(text, "MANY") {
		var many strings.Builder
		for i := range maxEndpoints + 1 {
			fmt.Fprintf(&many, "{url: \"http://a%d\"}, ", i)
		}
		text = strings.ReplaceAll(text, "MANY", "["+many.String()+"]")
	}
	return bytePlace.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseUint(s[3:5], 16, 8)
		return string([]byte{byte(n)})
	})
}

// TestEveryErrorWithItsLine is the table of testdata/errors.txt.
func TestEveryErrorWithItsLine(t *testing.T) {
	const file = "testdata/errors.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(data), "\n=== ")
	if len(sections) < 100 {
		t.Fatalf("%d cases: the table is cut short", len(sections))
	}
	out := sections[0]
	for _, section := range sections[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		text, want, found := strings.Cut(rest, "---\n")
		if !found {
			text, want = strings.TrimSuffix(rest, "---"), ""
		}
		want = strings.TrimSuffix(want, "\n")
		source := text
		if title == "two documents" {
			// "---" ends the case, so the second document is added here.
			source = completed(source) + "---\nversion: 1\n"
		} else if !strings.HasPrefix(title, "whole: ") {
			source = completed(source)
		}
		var got string
		t.Run(title, func(t *testing.T) {
			_, err := Parse("edge.yaml", []byte(unescape(source)))
			if err == nil {
				t.Fatal("no error")
			}
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("not Errors: %T", err)
			}
			got = strings.ReplaceAll(err.Error(), testdata, "TESTDATA")
			if diff := cmp.Diff(want, got); diff != "" && !*update {
				t.Errorf("errors differ (-want +got):\n%s", diff)
			}
		})
		out += fmt.Sprintf("\n=== %s\n%s---\n%s", title, text, got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
