package main

import (
	_ "embed"
	"fmt"
	"maps"
	"strings"
)

// reasonsText says which tests are not passed on purpose, and why. Blocks are
// parted by blank lines: the ids of tests, one on a line, then the reason in
// indented lines. "#" begins a comment. What follows a line packageSection is
// for the package alone: what it asks and newer versions of the suite do not, or
// ask differently. The reason of a question begins with its answer
// (verdict.answer) and is held to it.
//
//go:embed reasons.txt
var reasonsText string

const packageSection = "[" + packageName + " " + packageVersion + "]"

// reasons say why tests are not passed, by test.
type reasons struct {
	everywhere map[string]string
	inPackage  map[string]string
}

// of returns the reasons that count for the package, or for newer versions.
func (r *reasons) of(pinned bool) map[string]string {
	m := maps.Clone(r.everywhere)
	if pinned {
		maps.Copy(m, r.inPackage)
	}
	return m
}

// parseReasons reads text in the form of reasonsText.
func parseReasons(text string) (*reasons, error) {
	r := &reasons{everywhere: map[string]string{}, inPackage: map[string]string{}}
	into := r.everywhere
	var ids, why []string
	end := func(line int) error { // of a block
		if len(ids) == 0 && len(why) == 0 {
			return nil
		}
		if len(ids) == 0 || len(why) == 0 {
			return fmt.Errorf("reasons.txt:%d: a block is ids of tests and then, indented, their reason", line)
		}
		for _, id := range ids {
			if into[id] != "" {
				return fmt.Errorf("reasons.txt:%d: %s has a reason already", line, id)
			}
			into[id] = strings.Join(why, " ")
		}
		ids, why = nil, nil
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		var err error
		switch {
		case strings.HasPrefix(trimmed, "#"):
		case trimmed == "":
			err = end(n)
		case trimmed == packageSection:
			err = end(n)
			into = r.inPackage
		case line[0] == ' ':
			why = append(why, trimmed)
		case len(why) > 0 || strings.ContainsAny(trimmed, " []"):
			err = fmt.Errorf("reasons.txt:%d: %q is not the id of a test; after a reason comes a blank line", n, trimmed)
		default:
			ids = append(ids, trimmed)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, end(n)
}
