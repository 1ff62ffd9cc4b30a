package transcript

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const (
	repository = "../.."
	ledgerDir  = repository + "/testdata/rfc9111"
	// texts is where the RFCs may lie; the tests that read them pass without.
	texts = repository + "/../shared/rfc"
)

// sentence is one line of SENTENCES: a requirement, with one of its keywords.
type sentence struct {
	rfc, section, keyword, text string
}

// entry is one row of INDEX.
type entry struct {
	line                                 int
	rfc, section, keyword, verdict, text string
	evidence                             []string // transcripts, "go package Test", or "because ..."
	other                                bool     // it binds others than caches and intermediaries
	beyond                               bool     // below the "---" line: no row of SENTENCES
}

var (
	sentenceLine = regexp.MustCompile(`^(?:RFC )?(\d+|No-Vary-Search) section (\d[\d.]*)  (MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)  (.+)$`)
	entryLine    = regexp.MustCompile(`^(?:RFC )?(\d+|No-Vary-Search) section (\d[\d.]*)  (MUST NOT|MUST|SHOULD NOT|SHOULD|MAY|-)  (Yes|Partial|No)$`)
	// otherLine is the row of a sentence that does not bind a cache.
	otherLine = regexp.MustCompile(`^(?:RFC )?(\d+|No-Vary-Search) section (\d[\d.]*)  (MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)  not a cache's but an? [a-z ]+'s: "(.+)"$`)
)

func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}

func readSentences(t *testing.T) []sentence {
	t.Helper()
	var all []sentence
	for i, line := range lines(t, filepath.Join(ledgerDir, "SENTENCES")) {
		if line == "" || line[0] == '#' {
			continue
		}
		m := sentenceLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("SENTENCES:%d: not a sentence: %q", i+1, line)
		}
		all = append(all, sentence{m[1], m[2], m[3], m[4]})
	}
	return all
}

func readIndex(t *testing.T) []*entry {
	t.Helper()
	var all []*entry
	var e *entry
	beyond := false
	for i, line := range lines(t, filepath.Join(ledgerDir, "INDEX")) {
		switch m, o := entryLine.FindStringSubmatch(line), otherLine.FindStringSubmatch(line); {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "---"):
			beyond = true
		case m != nil:
			e = &entry{line: i + 1, rfc: m[1], section: m[2], keyword: m[3], verdict: m[4], beyond: beyond}
			if e.keyword == "-" {
				e.keyword = ""
			}
			all = append(all, e)
		case o != nil && !beyond:
			e = nil // it has no further lines
			all = append(all, &entry{line: i + 1, rfc: o[1], section: o[2], keyword: o[3], text: o[4], other: true})
		case e != nil && strings.HasPrefix(line, `  "`):
			e.text = strings.TrimSuffix(line[3:], `"`)
		case e != nil && strings.HasPrefix(line, "  "):
			e.evidence = append(e.evidence, line[2:])
		default:
			t.Fatalf("INDEX:%d: not a row: %q", i+1, line)
		}
	}
	return all
}

// squeeze drops white space, so that line breaks do not count.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func contains(text, part string) bool { return strings.Contains(squeeze(text), squeeze(part)) }

// INDEX has a row for each requirement, in order, and quotes it.
func TestIndexCoversEverySentence(t *testing.T) {
	sentences := readSentences(t)
	var rows []*entry
	for _, e := range readIndex(t) {
		if !e.beyond {
			rows = append(rows, e)
		}
	}
	if len(rows) != len(sentences) {
		t.Errorf("INDEX has %d rows for %d sentences", len(rows), len(sentences))
	}
	for i, e := range rows[:min(len(rows), len(sentences))] {
		s := sentences[i]
		if e.rfc != s.rfc || e.section != s.section || e.keyword != s.keyword {
			t.Fatalf("INDEX:%d: RFC %s section %s %s where SENTENCES has RFC %s section %s %s", e.line, e.rfc, e.section, e.keyword, s.rfc, s.section, s.keyword)
		}
		if e.text == "" || !contains(s.text, e.text) {
			t.Errorf("INDEX:%d: %q is not in the sentence %q", e.line, e.text, s.text)
		}
	}
}

// Yes has something to show, and what is not Yes has a reason.
func TestIndexVerdictsHaveEvidence(t *testing.T) {
	for _, e := range readIndex(t) {
		shown, reasons := 0, 0
		for _, x := range e.evidence {
			switch {
			case strings.HasPrefix(x, "because "):
				reasons++
			case strings.HasPrefix(x, "go "):
				shown++
				checkGoTest(t, e, strings.Fields(x)[1:])
			default:
				shown++
				if _, err := os.Stat(filepath.Join(ledgerDir, x+".txt")); err != nil {
					t.Errorf("INDEX:%d: %v", e.line, err)
				}
			}
		}
		switch {
		case e.other:
		case e.verdict == "Yes" && shown == 0:
			t.Errorf("INDEX:%d: Yes, and nothing to show", e.line)
		case e.verdict != "Yes" && reasons != 1:
			t.Errorf("INDEX:%d: %s, and %d reasons", e.line, e.verdict, reasons)
		}
	}
}

func checkGoTest(t *testing.T, e *entry, name []string) {
	t.Helper()
	if len(name) != 2 {
		t.Errorf("INDEX:%d: want go package TestName, have %q", e.line, name)
		return
	}
	files, _ := filepath.Glob(filepath.Join(repository, name[0], "*_test.go"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), "func "+name[1]+"(") {
			return
		}
	}
	t.Errorf("INDEX:%d: no test %s in %s", e.line, name[1], name[0])
}

// Every transcript stands in INDEX under the sentence that it quotes.
func TestEveryTranscriptIsInIndex(t *testing.T) {
	scripts, err := ReadDir(ledgerDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 100 {
		t.Errorf("%d transcripts in %s, there were more", len(scripts), ledgerDir)
	}
	sentences, index := readSentences(t), readIndex(t)
	for _, s := range scripts {
		name := strings.TrimSuffix(s.Name, ".txt")
		if !strings.HasPrefix(name, s.Section+"-") && !strings.HasPrefix(name, s.RFC+"-"+s.Section+"-") {
			t.Errorf("%s is about section %s", s.Name, s.Section)
		}
		found := false
		row := 0 // the index of e among the rows for SENTENCES
		for _, e := range index {
			text := s.Passages[0] // beyond the ledger, the row quotes the transcript
			if !e.beyond {
				text = sentences[row].text
				row++
			}
			for _, x := range e.evidence {
				if x != name {
					continue
				}
				found = true
				if e.rfc != s.RFC || e.section != s.Section || e.keyword != s.Keyword && e.keyword == "" {
					t.Errorf("%s is RFC %s section %s %s, INDEX:%d has RFC %s section %s %s", s.Name, s.RFC, s.Section, s.Keyword, e.line, e.rfc, e.section, e.keyword)
				}
				if e.keyword == s.Keyword && !e.beyond && !contains(text, s.Passages[0]) && !sharedEvidence(e, text) {
					t.Errorf("%s does not quote the sentence of INDEX:%d", s.Name, e.line)
				}
				if e.beyond && !contains(text, e.text) {
					t.Errorf("INDEX:%d: %q is not in %s", e.line, e.text, s.Name)
				}
			}
		}
		if !found {
			t.Errorf("%s is not in INDEX", s.Name)
		}
	}
}

// sharedEvidence: "MUST NOT store in this context means ..." explains the
// sentence before it and is shown by the same transcripts.
func sharedEvidence(e *entry, text string) bool {
	return strings.HasPrefix(text, `"MUST NOT store" in this context means`)
}

// The ledger is what the RFCs say, and every passage that a transcript quotes
// stands in the section that it names.
func TestLedgerAgreesWithTheTexts(t *testing.T) {
	sections := make(map[string]map[string]string) // by RFC and section
	var found []sentence
	for _, d := range documents {
		text, err := os.ReadFile(filepath.Join(texts, d.file))
		if err != nil {
			t.Logf("without the RFCs' texts only the files are held to one another: %v", err)
			return
		}
		var all []sentence
		sections[d.rfc], all = readText(d.rfc, numbered(string(text), d.numbers))
		for _, s := range all {
			top, _, _ := strings.Cut(s.section, ".")
			if top != "" && strings.Contains(d.within, top) && !strings.HasPrefix(s.text, "Thekeywords") {
				found = append(found, s)
			}
		}
	}
	recorded := make(map[sentence]int)
	for _, s := range readSentences(t) {
		s.text = squeeze(s.text)
		recorded[s]++
	}
	for _, s := range found {
		if recorded[s]--; recorded[s] < 0 {
			t.Errorf("RFC %s section %s has a %s that SENTENCES lacks: %s", s.rfc, s.section, s.keyword, s.text)
		}
	}
	for s, n := range recorded {
		if n > 0 {
			t.Errorf("SENTENCES has what RFC %s section %s lacks: %s %s", s.rfc, s.section, s.keyword, s.text)
		}
	}
	for _, e := range readIndex(t) {
		if e.beyond && !contains(sections[e.rfc][e.section], e.text) {
			t.Errorf("INDEX:%d: RFC %s section %s does not say %q", e.line, e.rfc, e.section, e.text)
		}
	}
	scripts, err := ReadDir(ledgerDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		for _, p := range s.Passages {
			if !contains(sections[s.RFC][s.Section], p) {
				t.Errorf("%s: RFC %s section %s does not say %q", s.Name, s.RFC, s.Section, p)
			}
		}
	}
}

// documents are the texts that the ledger covers, and which of their sections.
var documents = []struct {
	rfc, file string
	within    string   // the numbers of the sections, all below ten
	numbers   []string // of the headings that have none, in order
}{
	{rfc: "9111", file: "rfc9111.txt", within: "345"},
	{rfc: "9110", file: "rfc9110.txt"}, // for what transcripts quote
	{rfc: "5861", file: "rfc5861.txt", within: "34"},
	{rfc: "8246", file: "rfc8246.txt", within: "123456789"},
	{rfc: "8586", file: "rfc8586.txt", within: "123456789"},
	{rfc: "9209", file: "rfc9209.txt", within: "123456789"},
	{rfc: "9211", file: "rfc9211.txt", within: "123456789"},
	{rfc: "9213", file: "rfc9213.txt", within: "123456789"},
	{rfc: "9875", file: "rfc9875.txt", within: "123456789"},
	{rfc: "10008", file: "rfc10008-query-draft.txt", within: "123456789",
		numbers: strings.Fields("1 1.1 1.2 1.3 2 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 3 4 5")},
	{rfc: "No-Vary-Search", file: "draft-no-vary-search.md", within: "123456789",
		numbers: strings.Fields("1 2 3 4 5 5.1 5.2 5.2.1 5.3 5.3.1 6 6.1 7 8 9 10")},
}

var (
	title  = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	bullet = regexp.MustCompile(`(?m)^\* `)
)

// numbered gives the headings of a draft, marked by "#", the numbers of its
// sections. What follows the last of them counts as one section.
func numbered(text string, numbers []string) string {
	if len(numbers) == 0 {
		return text
	}
	text = bullet.ReplaceAllString(text, "\n") // a paragraph of its own
	return title.ReplaceAllStringFunc(text, func(line string) string {
		n := numbers[0]
		if len(numbers) > 1 {
			numbers = numbers[1:]
		}
		return n + ". " + title.FindStringSubmatch(line)[1]
	})
}

var (
	heading = regexp.MustCompile(`^(\d(?:\.\d+)*)\.\s+\S`)
	item    = regexp.MustCompile(`^\s*(?:[•□]|\d\. )\s*`)
	stop    = regexp.MustCompile(`[.:;]\s+[A-Z"]`)
	keyword = regexp.MustCompile(`\b(?:MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)\b`)
)

// readText returns an RFC's sections and every sentence of it with a keyword.
func readText(rfc, text string) (map[string]string, []sentence) {
	sections := make(map[string]string)
	var all []sentence
	section, unit := "", ""
	flush := func() {
		rest := strings.Join(strings.Fields(unit), " ")
		unit = ""
		for rest != "" {
			s := rest
			if at := stop.FindStringIndex(rest); at != nil {
				s, rest = rest[:at[0]+1], strings.TrimSpace(rest[at[0]+1:])
			} else {
				rest = ""
			}
			// A quoted keyword is spoken of, not used.
			for _, k := range keyword.FindAllString(strings.ReplaceAll(s, `"MUST NOT store"`, ""), -1) {
				all = append(all, sentence{rfc, section, k, squeeze(s)})
			}
		}
	}
	for _, line := range strings.Split(text, "\n") {
		switch m := heading.FindStringSubmatch(line); {
		case m != nil:
			flush()
			section = m[1]
			continue
		case strings.TrimSpace(line) == "":
			flush()
		case item.MatchString(line):
			flush()
			line = item.ReplaceAllString(line, "")
		}
		unit += line + "\n"
		sections[section] += line + "\n"
	}
	flush()
	return sections, all
}

// citable lists the sections that code may cite, by RFC.
var citable = map[string][]string{
	"9111": strings.Fields(`1 1.1 1.2 1.2.1 1.2.2 2 3 3.1 3.2 3.3 3.4 3.5 4 4.1 4.2 4.2.1 4.2.2 4.2.3 4.2.4
		4.3 4.3.1 4.3.2 4.3.3 4.3.4 4.3.5 4.4 5 5.1 5.2 5.2.1 5.2.1.1 5.2.1.2 5.2.1.3 5.2.1.4 5.2.1.5 5.2.1.6 5.2.1.7
		5.2.2 5.2.2.1 5.2.2.2 5.2.2.3 5.2.2.4 5.2.2.5 5.2.2.6 5.2.2.7 5.2.2.8 5.2.2.9 5.2.2.10 5.2.3 5.2.4 5.3 5.4 5.5
		6 7 7.1 7.2 7.3 8 8.1 8.2 8.3 8.4 9 9.1 9.2`),
	"5861": strings.Fields("1 2 3 3.1 4 4.1 5 6 7"),
	"8246": strings.Fields("1 1.1 2 2.1 2.2 3 4 5"),
	"8586": strings.Fields("1 1.1 1.2 2 3 4 5"),
	"9209": strings.Fields(`1 1.1 2 2.1 2.1.1 2.1.2 2.1.3 2.1.4 2.1.5 2.2 2.3 2.3.1 2.3.2 2.3.3 2.3.4 2.3.5 2.3.6 2.3.7 2.3.8
		2.3.9 2.3.10 2.3.11 2.3.12 2.3.13 2.3.14 2.3.15 2.3.16 2.3.17 2.3.18 2.3.19 2.3.20 2.3.21 2.3.22
		2.3.23 2.3.24 2.3.25 2.3.26 2.3.27 2.3.28 2.3.29 2.3.30 2.3.31 2.3.32 2.4 3 4 5`),
	"9211":  strings.Fields("1 1.1 2 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 3 4 5 6 7"),
	"9213":  strings.Fields("1 1.1 2 2.1 2.2 2.3 2.4 3 3.1 4 5 6"),
	"9875":  strings.Fields("1 1.1 2 2.1 2.2 2.2.1 3 4 5 6"),
	"10008": strings.Fields("1 1.1 1.2 1.3 2 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 3 4 5"),
}

// A section of the ledger's RFCs that the code cites exists.
func TestSectionsCitedExist(t *testing.T) {
	cited := regexp.MustCompile(`RFC (\d+),? [sS]ections? (\d+(?:\.\d+)*)`)
	count := 0
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		for _, m := range cited.FindAllStringSubmatch(string(text), -1) {
			known, ours := citable[m[1]]
			if !ours {
				continue
			}
			count++
			if !slices.Contains(known, m[2]) {
				t.Errorf("%s cites RFC %s section %s, which does not exist", path, m[1], m[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 60 {
		t.Errorf("only %d citations found: has the spelling changed?", count)
	}
}
