package config

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxFileSize bounds a configuration file, in bytes.
const MaxFileSize = 1 << 20

// document reads data as exactly one YAML document made of mappings, sequences
// and scalars alone, and returns its root, nil where there is none.
//
// Anchors, aliases, merge keys and explicit tags are refused, not resolved. A
// value then stands where it is read, an error has one place, and a small file
// cannot grow into a large tree: the tree is bounded by MaxFileSize.
func document(data []byte, report *reporter) *yaml.Node {
	if len(data) > MaxFileSize {
		report.at(1, 1, "", "the file has more than %s", Size(MaxFileSize))
		return nil
	}
	if !checkText(data, report) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := decodeNode(decoder, &doc); {
	case err == io.EOF:
		report.at(1, 1, "", "the file is empty")
		return nil
	case err != nil:
		reportSyntax(data, err, report)
		return nil
	}
	switch err := decodeNode(decoder, &second); {
	case err == nil:
		report.at(second.Line, second.Column, "", "a second document begins here: a configuration is one document")
	case err != io.EOF:
		reportSyntax(data, err, report)
	}
	root := doc.Content[0]
	checkTree(root, "", report)
	return root
}

// decodeNode is decoder.Decode, with a panic in the parser made an error: it is
// foreign code, and a file must never stop the process that reloads it.
func decodeNode(decoder *yaml.Decoder, node *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser failed: %v", r)
		}
	}()
	return decoder.Decode(node)
}

// checkText reports the first byte that is not UTF-8, or is a control character
// that YAML forbids, and whether there was none. The parser would report these
// without a line.
func checkText(data []byte, report *reporter) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			report.at(line, column, "", "byte 0x%02x is not UTF-8", data[i])
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', 0x7f <= r && r < 0xa0 && r != 0x85,
			r == 0xfffe, r == 0xffff, r == 0xfeff && i > 0:
			report.at(line, column, "", "the character %U is not allowed in YAML", r)
			return false
		}
		i += n
		column++
		if isBreak(r) && !(r == '\r' && i < len(data) && data[i] == '\n') {
			line, column = line+1, 1
		}
	}
	return true
}

// isBreak reports whether the YAML parser counts a new line after r.
func isBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
}

func countLines(data []byte) int {
	lines := 1
	for i, r := range string(data) {
		if isBreak(r) && !(r == '\r' && i+1 < len(data) && data[i+1] == '\n') {
			lines++
		}
	}
	return lines
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// reportSyntax reports an error of the parser. It gives a line that may be one
// off, and no column; tabs, which it describes obscurely, are looked for here.
func reportSyntax(data []byte, err error, report *reporter) {
	message, line := err.Error(), 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // on overflow the largest int: bounded below
		message = message[len(m[0]):]
	}
	message = strings.TrimPrefix(message, "yaml: ")
	line = min(max(line, 1), countLines(data))
	for i, text := range strings.Split(string(data), "\n") {
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(text) && i <= line {
			report.at(i+1, tab+1, "", "the line is indented with a tab: YAML wants spaces")
			return
		}
	}
	if name, found := strings.CutPrefix(message, "unknown anchor '"); found {
		name = strings.TrimSuffix(name, "' referenced")
		if before, _, found := strings.Cut(string(data), "*"+name); found {
			line = countLines([]byte(before))
		}
		message = "*" + name + " refers to nothing"
	}
	report.at(line, 1, "", "not YAML near here: %s", message)
}

// checkTree reports what document refuses anywhere under node.
func checkTree(node *yaml.Node, path string, report *reporter) {
	if node.Anchor != "" || node.Kind == yaml.AliasNode {
		report.node(node, path, "anchors and aliases are not accepted: write the value out")
	}
	if node.Style&yaml.TaggedStyle != 0 {
		report.node(node, path, "tags are not accepted: write the value without %s", clip(node.Tag))
	}
	switch node.Kind {
	case yaml.MappingNode:
		checkKeys(node, path, report)
	case yaml.SequenceNode:
		for i, child := range node.Content {
			checkTree(child, element(path, i), report)
		}
	}
}

// checkKeys is checkTree for a mapping.
func checkKeys(node *yaml.Node, path string, report *reporter) {
	first := make(map[string]int, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || isNull(key) {
			report.node(key, path, "a key must be a plain word")
			continue
		}
		at := child(path, key.Value)
		if key.ShortTag() == "!!merge" {
			report.node(key, path, "merge keys are not accepted: write the values out")
			continue
		}
		if key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			report.node(key, at, "a key must be a plain word, without anchor or tag")
		}
		if line, again := first[key.Value]; again {
			report.node(key, at, "the key is given twice, first on line %d", line)
		} else {
			first[key.Value] = key.Line
		}
		checkTree(value, at, report)
	}
}

// isNull reports whether a node is a key's missing value, null or ~.
func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// child is the path of key under path. Keys that are not plain words are quoted.
func child(path, key string) string {
	for i := range len(key) {
		if c := key[i]; !isAlphanumeric(c) && c != '_' && c != '-' || i >= maxQuoted {
			key = quote(key)
			break
		}
	}
	if key == "" {
		key = `""`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// element is the path of a list's i-th element.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// reporter collects errors.
type reporter struct {
	file   string
	errors Errors
}

// at reports an error at a place.
func (r *reporter) at(line, column int, path, format string, args ...any) {
	r.errors = append(r.errors, &Error{r.file, line, column, path, fmt.Sprintf(format, args...)})
}

// node reports an error at a node.
func (r *reporter) node(n *yaml.Node, path, format string, args ...any) {
	r.at(max(n.Line, 1), max(n.Column, 1), path, format, args...)
}

// err returns everything reported, in the file's order, or nil.
func (r *reporter) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	r.errors.sort()
	return r.errors
}
