package config

import (
	"reflect"
	"slices"
	"strings"
)

// orList writes "a, b or c".
func orList(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " or " + items[last]
}

// maxSuggestLength bounds the words for which a similar one is looked for: the
// work is the product of two lengths.
const maxSuggestLength = 40

// nearest returns the word most like text, or "" where none is near.
func nearest(text string, words []string) string {
	if len(text) > maxSuggestLength {
		return ""
	}
	best, least := "", 1+max(1, min(len(text)/3, 3))
	for _, word := range words {
		if d := editDistance(strings.ToLower(text), strings.ToLower(word)); d < least {
			best, least = word, d
		}
	}
	return best
}

// didYouMean is the end of an error message that names a word like text, or "".
func didYouMean(text string, words []string) string {
	if word := nearest(text, words); word != "" {
		return "; did you mean " + word + "?"
	}
	return ""
}

// editDistance is how many insertions, deletions, replacements and exchanges of
// neighbours turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// unknownKey says what is wrong with a key that t does not have: perhaps it is
// misspelt, perhaps it belongs elsewhere.
func unknownKey(name string, t reflect.Type) string {
	var names []string
	for _, k := range schemas[t] {
		switch {
		case k.statuses:
			names = append(names, "status codes from 200 to 599")
		case k.phase == "":
			names = append(names, k.name)
		}
	}
	if hint := didYouMean(name, names); hint != "" {
		return "unknown key" + hint
	}
	if places := places[name]; places != nil {
		return "unknown key here: it belongs under " + orList(places)
	}
	return "unknown key: known here are " + strings.Join(names, ", ")
}

// maxPlaces is to how many places a key may belong for an error to name them.
const maxPlaces = 3

// places says for every key under which paths it stands, where these are few.
var places = func() map[string][]string {
	all := make(map[string][]string)
	addPlaces(all, reflect.TypeFor[Config](), "")
	for name, paths := range all {
		if len(paths) > maxPlaces || slices.Contains(paths, "") {
			delete(all, name)
		}
	}
	return all
}()

func addPlaces(all map[string][]string, t reflect.Type, path string) {
	for _, k := range schemas[t] {
		if k.name == "" || k.phase != "" {
			continue
		}
		all[k.name] = append(all[k.name], path)
		below := child(path, k.name)
		t := k.typ
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			switch t.Kind() {
			case reflect.Slice:
				below += "[]"
			case reflect.Map:
				below += ".NAME"
			}
			t = t.Elem()
		}
		addPlaces(all, t, below)
	}
}
