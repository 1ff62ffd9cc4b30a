package houserules

import (
	_ "embed"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edge/config"
)

// How a standard is cited: "RFC 9111 section 4.2.1", "RFC 9112 sections 6.1
// and 6.3", "RFC 8246" for all of it. In strings and between quotes, which may
// be columns of a table, "RFC 9112 6.3" will do. The section must exist.

//go:embed sections.txt
var sectionLedger string

// sections returns the sections that exist, by RFC.
func sections() map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(sectionLedger) {
		number, list, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && !strings.HasPrefix(number, "#") {
			m[number] = strings.Fields(list)
		}
	}
	return m
}

var (
	// anyCitation is whatever looks like one. Lower-case names of files and
	// directories (testdata/rfc9111) do not.
	anyCitation = regexp.MustCompile(`\bR[Ff][Cc][-_ ]?\d{4,5}\b[^\n]{0,60}`)
	rightStart  = regexp.MustCompile(`^RFC (\d{4,5})\b`)
	// number of a section, as far as one is named after the RFC.
	bareSection  = regexp.MustCompile(`^,? \(?(\d+(?:\.\d+)+|\d+\.?$)`)
	namedSection = regexp.MustCompile(`^,? (?:sections?|appendix|Appendix) (\d+(?:\.\d+)*|[A-Z](?:\.\d+)*)\b(?:(?:,| and| to) (\d+(?:\.\d+)*)\b)?`)
	wrongSection = regexp.MustCompile(`^,? ?(?:§|Section|[Ss]ec\b|[Ss]ect\b|S\d)`)
)

func TestCitations(t *testing.T) {
	known := sections()
	if len(known) < 10 {
		t.Fatalf("sections.txt names %d RFCs", len(known))
	}
	var findings []string
	for _, s := range goFiles(t) {
		findings = append(findings, checkCitations(s, known)...)
	}
	report(t, findings)
}

func TestCitationsSeesViolations(t *testing.T) {
	known := map[string][]string{"9111": {"4", "4.2", "4.2.1"}}
	for text, want := range map[string]int{
		"// RFC 9111 section 4.2.1: quoted":      0,
		"// RFC 9111, section 4.2":               0,
		"// RFC 9111 sections 4 and 4.2":         0,
		"// RFC 9111":                            0,
		"// RFC 9111 says so":                    0,
		"// see testdata/rfc9111":                0,
		"// RFC 1 is not cited here":             0,
		"// RFC 8446 section 4.1.2, not in hand": 0,
		"// RFC 9111 section 4.7":                1,
		"// RFC 9111 sections 4 and 9":           1,
		"// RFC9111 section 4":                   1,
		"// Rfc 9111":                            1,
		"// RFC 9111 §4.2":                       1,
		"// RFC 9111 Section 4.2":                1,
		"// RFC 9111 4.2":                        1,
		"// \"RFC 9111 4.2\"":                    0,
		"var s = \"RFC 9111 4.2\"":               0,
		"var s = \"RFC 9111 4.9\"":               1,
	} {
		wantFindings(t, text, checkCitations(newSource("a.go", []byte("package p\n"+text+"\n")), known), want)
	}
}

func checkCitations(s *source, known map[string][]string) []string {
	var findings []string
	n := 0
	for line := range strings.Lines(string(s.text)) {
		n++
		if under(s.dir(), "internal/houserules") && s.isTest() {
			continue // shows violations
		}
		start, comment := 0, strings.Index(line, "//")
		for _, loc := range anyCitation.FindAllStringIndex(line, -1) {
			start = loc[0]
			rest := line[start:]
			if why := citation(strings.TrimRight(rest, "\n"), comment >= 0 && comment < start && line[start-1] != '"', known); why != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %.40q: %s", s.path, n, strings.TrimSpace(rest), why))
			}
		}
	}
	return findings
}

// citation judges one; "" is right.
func citation(text string, comment bool, known map[string][]string) string {
	m := rightStart.FindStringSubmatch(text)
	if m == nil {
		return `write "RFC 9111 section 4.2"`
	}
	rest := text[len(m[0]):]
	if wrongSection.MatchString(rest) {
		return `write "RFC ` + m[1] + ` section ..."`
	}
	var cited []string
	if sub := namedSection.FindStringSubmatch(rest); sub != nil {
		cited = sub[1:]
	} else if sub := bareSection.FindStringSubmatch(rest); sub != nil {
		if comment {
			return `write "RFC ` + m[1] + ` section ` + sub[1] + `"`
		}
		cited = []string{strings.TrimSuffix(sub[1], ".")}
	}
	exist, ok := known[m[1]]
	for _, c := range cited {
		if ok && c != "" && !slices.Contains(exist, c) {
			return "RFC " + m[1] + " has no section " + c
		}
	}
	return ""
}

var (
	mdLink  = regexp.MustCompile(`\]\(([^)\s]+)(?: "[^"]*")?\)`)
	mdFence = regexp.MustCompile("(?ms)^```.*?^```")
	mdCode  = regexp.MustCompile("`[^`\n]*`")
	mdHead  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func TestLinksResolve(t *testing.T) {
	var findings []string
	read := func(name string) (string, bool) {
		b, err := os.ReadFile("../../" + name)
		return string(b), err == nil
	}
	exists := func(name string) bool {
		_, err := os.Stat("../../" + name)
		return err == nil
	}
	for _, s := range tree(t) {
		if strings.HasSuffix(s.path, ".md") {
			findings = append(findings, checkLinks(s, exists, read)...)
		}
	}
	report(t, findings)
}

func TestLinksSeesViolations(t *testing.T) {
	files := map[string]string{"docs/a.md": "# A Title: it's `here`\n", "README.md": ""}
	read := func(name string) (string, bool) { text, ok := files[name]; return text, ok }
	exists := func(name string) bool { _, ok := files[name]; return ok }
	text := "[ok](a.md) [ok](../README.md) [ok](https://example.com/x) [ok](a.md#a-title-its-here)\n" +
		"`[not a link](x)`\n```\n[nor this](y)\n```\n[bad](b.md) [bad](a.md#other) [bad](/docs/a.md)\n"
	wantFindings(t, "three", checkLinks(newSource("docs/b.md", []byte(text)), exists, read), 3)
}

func checkLinks(s *source, exists func(string) bool, read func(string) (string, bool)) []string {
	var findings []string
	text := mdCode.ReplaceAllString(mdFence.ReplaceAllString(string(s.text), ""), "")
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		target := s.path
		if file != "" {
			target = path.Join(s.dir(), file)
		}
		if strings.HasPrefix(file, "/") || file != "" && !exists(target) {
			findings = append(findings, fmt.Sprintf("%s: link to %s, which is not there", s.path, m[1]))
			continue
		}
		if content, ok := read(target); ok && anchor != "" && !slices.Contains(anchors(content), anchor) {
			findings = append(findings, fmt.Sprintf("%s: link to %s: no such heading in %s", s.path, m[1], target))
		}
	}
	return findings
}

// anchors returns the anchors of a page's headings, as code hosts make them.
func anchors(text string) []string {
	var list []string
	for _, m := range mdHead.FindAllStringSubmatch(mdFence.ReplaceAllString(text, ""), -1) {
		slug := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(slug, " ", "-"))
	}
	return list
}

// configBlock is a YAML block that is a whole configuration.
var configBlock = regexp.MustCompile("(?ms)^```yaml\n(version:.*?)^```")

func TestConfigurationsInDocsAreValid(t *testing.T) {
	blocks := 0
	for _, s := range tree(t) {
		if !strings.HasSuffix(s.path, ".md") {
			continue
		}
		for _, m := range configBlock.FindAllSubmatch(s.text, -1) {
			blocks++
			if _, err := config.Parse(s.path, m[1]); err != nil {
				t.Errorf("%s shows a configuration that edge refuses:\n%v", s.path, err)
			}
		}
	}
	if blocks == 0 {
		t.Error("the README shows no configuration, or this test does not see it")
	}
}

// machinePath is a path that exists on one machine only.
var machinePath = regexp.MustCompile(`(?:^|[\s"'(=:\x60])(/(?:root|work|tmp/[a-z]|Users/[a-z]|home/[a-z])[\w./-]*)`)

func TestNoMachinePaths(t *testing.T) {
	var findings []string
	for _, s := range tree(t) {
		findings = append(findings, checkMachinePaths(s)...)
	}
	report(t, findings)
	bad := newSource("docs/a.md", []byte("see /"+"root/notes\nand (/"+"tmp/out)\nnot https://example.com/"+"work/x\n"))
	wantFindings(t, "two paths", checkMachinePaths(bad), 2)
}

func checkMachinePaths(s *source) []string {
	var findings []string
	for _, m := range machinePath.FindAllStringSubmatch(string(s.text), -1) {
		findings = append(findings, fmt.Sprintf("%s: %s: a path of somebody's machine; use t.TempDir or a relative one", s.path, m[1]))
	}
	return findings
}
